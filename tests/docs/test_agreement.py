"""The page on agreement is enough to write a verifier, and we write by it."""

import ast
import io
import json
import os
from functools import partial
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
import verifier
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings, strategies as st

from ec2map_sync.operate.transfer import claims_of
from ec2map_sync.protocol import agreements, canonical
from ec2map_sync.protocol.agreements import Proof, Terms
from ec2map_sync.protocol.notes import BadNote, Note, key_id, sign
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.protocol.statements import Statement
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted
from ec2map_sync.rules.ec2id import Kind, Scheme, format_id
from ec2map_sync.rules.merkle import path_of, root_of

STATEMENT = "ec2map-sync/statement"
PAGE = "doc/source/agreement.rst"
REGIONS = ("RegionOne", "RegionTwo")
PRIVATE = {
    name: SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32))
    for at, name in enumerate(REGIONS)
}
KEYS = [(name, PublicKey(key.public)) for name, key in PRIVATE.items()]
RAW = {name: key.raw for name, key in KEYS}


@pytest.fixture
def page(blocks):
    """Give the blocks of the page: export, claims, entries, note, proof."""
    found = [text for _, text in blocks(PAGE)]
    return [text for text in found if not text.startswith(STATEMENT)]


def leaves(claims, until):
    return [
        canonical.line(c.image, c.claimed_at, c.wanted, c.kind, until)
        for c in claims
        if c.claimed_at < until
    ]


def signed(text):
    signatures = tuple(sign(text, *one) for one in PRIVATE.items())
    return Note(text=text, signatures=signatures)


def test_the_verifier_uses_nothing_of_ours():
    source = Path(verifier.__file__).read_text()
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or node.names[0].name]
    }

    assert imported == {"base64", "json", "hashlib", "cryptography"}
    assert len(list(filter(None, source.splitlines()))) <= 60


def test_the_claims_of_the_page_are_those_of_its_export(page):
    export, claims, entries, note, _ = page
    found = list(claims_of(io.BytesIO(export.encode()), "page"))
    until = Terms.parse(Note.parse(note.encode()).text).until

    assert leaves(found, until) == claims.splitlines()
    scheme = Scheme(b"example")
    for line, shown in zip(
        claims.splitlines(), entries.splitlines(), strict=True
    ):
        fields = json.loads(shown)
        derived = scheme.derive(fields["image"])
        number = fields.get("wanted", (0, derived))[1]
        assert shown == canonical.entry(line, number)


def test_the_note_of_the_page_is_as_both_write_it(page):
    _, claims, entries, note, _ = page
    lines = [line.encode() for line in claims.splitlines()]
    mapped = [line.encode() for line in entries.splitlines()]
    terms = Terms.parse(Note.parse(note.encode()).text)

    assert terms.scheme == Scheme(b"example").fingerprint
    assert terms.count == len(lines)
    assert terms.claims == root_of(lines) == verifier.root(lines)
    assert terms.mapping == root_of(mapped) == verifier.root(mapped)
    assert str(signed(terms.text)) == note
    assert verifier.signers(note, RAW) == (terms.text, set(REGIONS))


def test_the_statement_of_the_page_is_about_its_note(blocks, page):
    (shown,) = (t for _, t in blocks(PAGE) if t.startswith(STATEMENT))
    text, signed_by = verifier.signers(shown, RAW)
    note, _ = verifier.signers(page[3], RAW)
    said = Statement.parse(text)

    assert signed_by == {"RegionOne"}
    assert said.text == text
    assert (said.region, said.serial, said.length) == ("RegionOne", 2, 9)
    assert said.note == sha256(note.encode()).digest()
    assert said.superseded == bytes(32)


def test_the_keys_of_the_page_are_those_that_sign(read):
    for name, key in KEYS:
        shown = (
            f"``{PRIVATE[name].public}``\n     - ``{key_id(name, key).hex()}``"
        )
        assert f"``{name}``\n     - {shown}" in read(PAGE)


def test_the_proof_of_the_page_holds_for_both(page):
    *_, entries, _, proof = page

    agreed = agreements.verify(proof.encode(), KEYS)

    entry = json.loads(entries.splitlines()[2])
    assert verifier.proved(proof, RAW) == entry
    assert agreed.signers == REGIONS
    assert agreed.entry.claim.image == entry["image"]
    assert agreed.entry.ec2_id == format_id(17, Kind.ARI)
    assert str(Proof.parse(proof.encode())) == proof


def test_every_changed_byte_of_a_proof_is_noticed(page):
    proof = page[-1].encode()
    for at in range(len(proof)):
        data = bytearray(proof)
        data[at] ^= 1
        with pytest.raises(BadNote):
            agreements.verify(bytes(data), KEYS)
        with pytest.raises((InvalidSignature, AssertionError, ValueError)):
            verifier.proved(data.decode(), RAW)


def changed(proof, old, new):
    assert proof.count(old) == 1
    return proof.replace(old, new)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: changed(p, '"ari"', '"aki"'), "not in the mapping"),
        (lambda p: changed(p, ":17}", ":18}"), "not in the mapping"),
        (lambda p: changed(p, "\n2\n", "\n1\n"), "not in the mapping"),
        (lambda p: changed(p, "\n4\n", "\n5\n"), "of RegionOne is not of"),
        (
            lambda p: changed(p, "— RegionTwo", "— RegionTwx"),
            "RegionTwo has n",
        ),
        (lambda p: p.partition("\n\n")[2].partition("\n\n")[0], "no signatu"),
        (lambda p: p.partition("\n")[2], "something else|no line"),
        (lambda _: "", "no signatures"),
        (lambda p: p + "x" * 2**17, "too long"),
    ],
)
def test_a_proof_is_refused_with_the_reason(page, change, said):
    with pytest.raises(BadNote, match=said):
        agreements.verify(change(page[-1]).encode(), KEYS)


def test_a_proof_for_another_image_is_refused(page):
    _, _, entries, _, proof = page
    entry = entries.splitlines()
    swapped = changed(proof, entry[2], entry[1])

    with pytest.raises(BadNote, match="not in the mapping"):
        agreements.verify(swapped.encode(), KEYS)


def test_another_key_of_that_name_has_not_signed(page):
    stranger = PublicKey(SigningKey.generate().public)

    with pytest.raises(BadNote, match="RegionTwo has not signed"):
        agreements.verify(
            page[-1].encode(), [KEYS[0], ("RegionTwo", stranger)]
        )
    with pytest.raises(BadNote, match="nobody"):
        agreements.verify(page[-1].encode(), [])
    both = [*KEYS, ("RegionTwo", stranger)]  # while it rotates
    assert agreements.verify(page[-1].encode(), both).signers == REGIONS


EXAMPLES = 200
SETS = int(os.environ.get("EC2MAP_SYNC_AGREED_SETS", "400"))
"""In all; 10,000 with `tox -e agreement`."""


def random_claim(random):
    """Make a claim of a few, whose stamps are near each other."""
    stamp = partial(random.randint, 1, 20)
    wanted = Wanted(stamp(), random.randint(1, 2**24))
    kind = SeenKind(stamp(), random.choice(list(Kind)))
    return Claim(
        claimed_at=stamp(),
        image=str(UUID(int=random.getrandbits(128))),
        wanted=random.choice((wanted, None)),
        kind=random.choice((kind, None)),
    )


def independent(claim, until):
    """Write a claim as the page says, by Python's own JSON."""
    fields = {"image": claim.image, "claimed_at": claim.claimed_at}
    if claim.wanted and claim.wanted.at < until:
        fields["wanted"] = [claim.wanted.at, claim.wanted.number]
    if claim.kind and claim.kind.at < until:
        fields["kind"] = [claim.kind.at, str(claim.kind.kind)]
    return fields


@settings(deadline=None, max_examples=EXAMPLES)
@given(random=st.randoms(use_true_random=True))
def test_two_implementations_agree_on_any_set(random):
    for _ in range(SETS // EXAMPLES):
        found = [random_claim(random) for _ in range(random.randint(0, 20))]
        claims = sorted(found, key=lambda claim: claim.bound)
        until = random.randint(1, 21)
        early = [c for c in claims if c.claimed_at < until]
        numbers = [random.choice((None, 2**24 + n)) for n in range(len(early))]
        ours = [
            canonical.entry(*one).encode()
            for one in zip(leaves(claims, until), numbers, strict=True)
        ]
        theirs = [
            json.dumps(
                independent(claim, until) | {"number": number},
                separators=(",", ":"),
            ).encode()
            for claim, number in zip(early, numbers, strict=True)
        ]

        assert ours == theirs
        assert root_of(ours) == verifier.root(theirs)
        for index in random.sample(range(len(ours)), k=min(1, len(ours))):
            path = path_of(ours, index, len(ours))
            climbed = verifier.climb(theirs[index], index, len(ours), path)
            assert climbed == root_of(ours)
