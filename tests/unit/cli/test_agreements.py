"""Notes and proofs of a ledger: the same from everybody, and checked."""

import dataclasses
import json
import time

import pytest
import verifier
from commands import SmallRegion, run
from hypothesis import HealthCheck, given, settings, strategies as st

from ec2map_sync.ledger import Ledger, roots
from ec2map_sync.operate import agreement
from ec2map_sync.protocol import agreements, canonical
from ec2map_sync.protocol.notes import Note, sign
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted, join_all
from ec2map_sync.rules.ec2id import Band, Kind, Scheme
from ec2map_sync.rules.merkle import root_of
from ec2map_sync.rules.settle import settle

AT = "1970-01-01T00:00:01"
UNTIL = 1_000_000


def image(n):
    return f"abcdef00-0000-4000-8000-{n:012x}"


CLAIMS = [
    Claim(claimed_at=10 * n, image=image(n), kind=SeenKind(10 * n, Kind.AKI))
    for n in range(1, 8)
]


@pytest.fixture
def regions(tmp_path):
    regions = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        regions.append(SmallRegion(tmp_path / name))
        regions[-1].ledger.record(CLAIMS)
    return regions


@pytest.fixture
def region(regions):
    return regions[0]


@pytest.fixture
def proof(region, tmp_path):
    file = tmp_path / "proof"
    arguments = ["agreement", "prove", image(3), "--at", AT, "-o", str(file)]
    region.run(*arguments)
    return file


def key(region):
    return f"RegionOne={region.key.public}"


def verified(file, *keys, code=0, expect=()):
    arguments = [part for one in keys for part in ("--key", one)]
    arguments += expect
    done = run("agreement", "verify", str(file), *arguments, "-f", "json")
    assert done.code == code, done
    if code:
        assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr if code else json.loads(done.stdout)


def shown(region, *arguments):
    return region.run("agreement", "show", *(arguments or ("--at", AT))).stdout


def test_regions_that_know_the_same_sign_the_same_text(regions, tmp_path):
    one, two = map(shown, regions)
    text, _, signatures = two.rpartition("\n\n")

    assert one.startswith(f"{text}\n\n— RegionOne ")
    assert one != two  # they have keys of their own
    both = tmp_path / "both"
    both.write_text(one + signatures)
    agreed = verified(both, key(regions[0]))
    assert (agreed["count"], agreed["signed_by"]) == (7, "RegionOne")
    assert agreed["at"] == "1970-01-01T00:00:01.000000Z"
    assert agreed["image"] is None


def named(region, name):
    text = region.config_file.read_text().replace("RegionTwo", "RegionNine")
    region.config_file.write_text(
        text.replace("region = RegionOne", f"region = {name}")
    )


def test_signatures_of_others_are_added_to_notes_and_proofs(regions, tmp_path):
    one, two = regions
    named(two, "RegionTwo")
    keys = key(one), f"RegionTwo={two.key.public}"
    note, both, proof = (tmp_path / name for name in ("note", "both", "proof"))
    note.write_text(shown(two))

    both.write_text(shown(one, "--note", str(note)))
    arguments = ["prove", image(3), "--note", str(both), "-o", str(proof)]
    one.run("agreement", *arguments)

    for file in (both, proof):
        assert verified(file, *keys)["signed_by"] == "RegionOne RegionTwo"
    assert both.read_text().count("RegionOne") == 1
    assert proof.read_text().count("RegionOne") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda r: r.ledger.record([Claim(claimed_at=5, image=image(9))]),
            "8 im",
        ),
        (
            lambda r: r.ledger.record(
                [dataclasses.replace(CLAIMS[0], kind=SeenKind(99, Kind.AMI))]
            ),
            "other things are known",
        ),
        (
            lambda r: r.sql("ledger", "UPDATE claims SET number = number + 1"),
            "other ids came",
        ),
    ],
)
def test_a_note_of_something_else_is_refused_and_why(
    regions, tmp_path, change, said
):
    one, two = regions
    named(two, "RegionTwo")
    change(two)
    note = tmp_path / "note"
    note.write_text(shown(two))

    done = one.run("agreement", "show", "--note", str(note), code=1)
    assert "RegionTwo signed something else" in done.stderr
    assert said in done.stderr
    assert not done.stdout
    arguments = ["show", "--at", "1970-01-02", "--note", str(note)]
    done = one.run("agreement", *arguments, code=1)
    assert "another moment" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.ledger.record([Claim(claimed_at=5, image=image(99))]),
        lambda r: r.sql(
            "ledger",
            f"UPDATE claims SET kind = 'ari' WHERE image = '{image(2)}'",
        ),
        lambda r: r.sql(
            "ledger", f"DELETE FROM claims WHERE image = '{image(2)}'"
        ),
        lambda r: r.sql(
            "ledger",
            f"UPDATE claims SET number = 5 WHERE image = '{image(2)}'",
        ),
    ],
)
def test_whoever_knows_something_else_signs_something_else(regions, change):
    one, two = regions
    change(two)

    assert shown(one).splitlines()[:5] != shown(two).splitlines()[:5]


def test_what_comes_later_changes_nothing_of_a_moment(region):
    before = shown(region)

    region.ledger.record([Claim(claimed_at=UNTIL, image=image(50))])
    region.ledger.record(
        [
            dataclasses.replace(CLAIMS[1], wanted=Wanted(UNTIL, 17)),
            dataclasses.replace(CLAIMS[2], spelling=image(3).upper()),
        ]
    )

    assert region.ledger.numbers_of([image(2)]) == {image(2): 17}
    assert shown(region) == before


def test_without_a_time_the_moment_is_a_full_minute_that_is_over(region):
    now = time.time_ns() // 1000
    until = int(shown(region, "--at", "2m").splitlines()[1])
    default = int(region.run("agreement", "show").stdout.splitlines()[1])

    assert abs(now - until - 120_000_000) < 600_000_000
    assert default % 60_000_000 == 0
    assert now - default >= 0


def test_a_time_to_come_is_refused(region):
    done = region.run("agreement", "show", "--at", "2999-01-01", code=2)

    assert "still to come" in done.stderr


def test_a_proof_is_accepted_by_us_and_by_others(region, proof):
    agreed = verified(proof, key(region))

    assert agreed["image"] == image(3)
    mapped = region.ledger.queries.by_image(image(3))
    assert (agreed["ec2_id"], agreed["kind"]) == (mapped.ec2_id, "aki")
    raw = PublicKey(region.key.public).raw
    entry = verifier.proved(proof.read_text(), {"RegionOne": raw})
    assert (entry["image"], entry["number"]) == (image(3), mapped.number)


def test_a_proof_is_made_for_an_id_as_well(region, proof):
    mapped = region.ledger.queries.by_image(image(3))
    done = region.run("agreement", "prove", mapped.ec2_id, "--at", AT)

    assert done.stdout == proof.read_text()


def test_a_proof_is_of_the_rows_whatever_was_counted(region, tmp_path):
    """Somebody has edited the ledger, past the running total."""
    region.sql("ledger", f"DELETE FROM claims WHERE image = '{image(6)}'")
    file = tmp_path / "proof"
    for n in (1, 3, 7):
        arguments = ["prove", image(n), "--at", AT, "-o", str(file)]
        region.run("agreement", *arguments)

        assert verified(file, key(region))["count"] == 6


def test_there_is_no_proof_of_what_was_not_known(region):
    for name, at in ((image(77), AT), (image(3), "1970-01-01T00:00:00")):
        done = region.run("agreement", "prove", name, "--at", at, code=1)

        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"aki"', '"ari"', "not in the mapping"),
        (image(3), image(4), "not in the mapping"),
        ("\n7\n", "\n8\n", "signature of RegionOne is not of this text"),
        ("\n2\n", "\n3\n", "not in the mapping"),
    ],
)
def test_what_was_changed_is_refused_and_why(region, proof, old, new, said):
    text = proof.read_text()
    assert text.count(old) == 1
    proof.write_text(text.replace(old, new))

    assert said in verified(proof, key(region), code=1)


def test_the_path_of_another_image_is_refused(region, proof, tmp_path):
    """All is genuine, and the entry is another's."""
    other = tmp_path / "other"
    region.run("agreement", "prove", image(4), "--at", AT, "-o", str(other))
    ours, theirs = (p.read_text().split("\n") for p in (proof, other))
    proof.write_text("\n".join([ours[0], theirs[1], *ours[2:]]))

    assert "not in the mapping" in verified(proof, key(region), code=1)


def test_a_proof_of_another_image_is_refused_where_one_is_named(region, proof):
    id_ = region.ledger.queries.by_image(image(3)).ec2_id
    other = region.ledger.queries.by_image(image(4)).ec2_id
    for expect in (image(3), image(3).upper(), id_):
        verified(proof, key(region), expect=["--image", expect])

    for expect in (image(4), other, id_.replace("aki", "ami")):
        expected = ["--image", expect]
        error = verified(proof, key(region), code=1, expect=expected)
        assert f"it is about image {image(3)}, {id_}" in error
    verified(proof, key(region), code=2, expect=["--image", "x"])
    proof.write_text(shown(region))
    expected = ["--image", image(3)]
    error = verified(proof, key(region), code=1, expect=expected)
    assert "no proof of any image" in error


def test_an_old_note_is_refused_where_a_newer_one_is_expected(region, proof):
    for file_text in (proof.read_text(), shown(region)):
        proof.write_text(file_text)
        verified(proof, key(region), expect=["--since", AT])

        error = verified(proof, key(region), code=1, expect=["--since", "2h"])

        assert "it is of 1970-01-01T00:00:01Z" in error
    verified(proof, key(region), code=2, expect=["--since", "soon"])


def test_a_note_of_another_moment_does_not_carry_a_proof(region, proof):
    region.ledger.record([Claim(claimed_at=1, image=image(1000))])
    note = shown(region)
    head, _, _ = proof.read_text().partition("\n\n")
    proof.write_text(f"{head}\n\n{note}")

    assert "not in the mapping" in verified(proof, key(region), code=1)


def test_all_who_are_named_have_to_have_signed(region, proof):
    stranger = SigningKey.generate().public

    error = verified(proof, f"RegionOne={stranger}", code=1)
    assert "RegionOne has not signed" in error
    error = verified(proof, key(region), f"RegionTwo={stranger}", code=1)
    assert "RegionTwo has not signed" in error
    verified(proof, key(region), f"RegionOne={stranger}")


@pytest.mark.parametrize(
    "given_key", ["RegionOne", "=ed25519:x", "RegionOne=x", "RegionOne="]
)
def test_a_key_that_is_none_is_said(proof, given_key):
    verified(proof, given_key, code=2)


@pytest.mark.parametrize("name", [".", "missing"])
def test_a_file_that_cannot_be_read_is_said(region, proof, name):
    error = verified(proof.parent / name, key(region), code=2)

    assert str(proof.parent) in error


def test_what_is_no_proof_is_refused(region, tmp_path):
    file = tmp_path / "file"
    for data in (b"", b"\0\xff", b"ec2map-sync/proof/v1\n", b"x" * 2**17):
        file.write_bytes(data)

        verified(file, key(region), code=1)


def signing(terms):
    return Note(text=terms.text, signatures=())


def test_a_proof_of_a_million_images_by_three_regions_is_small(region):
    """The path has as many hashes as it can have."""
    proofs = agreements.Proof.parse(
        region.run("agreement", "prove", image(3), "--at", AT).stdout.encode()
    )
    (signature,) = proofs.note.signatures
    entry = canonical.entry(
        canonical.line(
            image(3), 2**51, Wanted(2**51, 2**30), SeenKind(2**51, Kind.AKI)
        ),
        2**30,
    )
    large = agreements.Proof(
        entry=entry,
        index=999_999,
        path=(bytes(32),) * 20,
        note=Note(text=proofs.note.text, signatures=(signature,) * 3),
    )

    assert len(str(large).encode()) + 3 * len("a-long-name") < 2000


STAMPS = st.integers(1, 12)
SETS = st.lists(
    st.builds(
        Claim,
        claimed_at=STAMPS,
        image=st.integers(0, 40).map(image),
        spelling=st.just(""),
        wanted=st.none() | st.builds(Wanted, STAMPS, st.integers(1, 40)),
        kind=st.none() | st.builds(SeenKind, STAMPS, st.sampled_from(Kind)),
    ).filter(lambda c: not c.wanted or c.wanted.at >= c.claimed_at),
    max_size=40,
)


def known_before(claims, until):
    for claim in claims:
        if claim.claimed_at < until:
            wanted, kind = claim.wanted, claim.kind
            yield dataclasses.replace(
                claim,
                wanted=wanted if wanted and wanted.at < until else None,
                kind=kind if kind and kind.at < until else None,
            )


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(claims=SETS, until=STAMPS)
def test_a_note_is_of_what_a_pure_settling_of_before_gives(
    region, claims, until
):
    """The band is small: most images collide with others."""
    for table in ("claims", "numbers", "passed", "moves"):
        region.sql("ledger", f"DELETE FROM {table}")
    region.sql("ledger", "UPDATE head SET scheme='', total_count=0")
    scheme = Scheme(b"test", Band(2**24, 2**24 + 32))
    ledger = Ledger(region.ledger._engine, scheme)
    ledger.record(claims)
    early = sorted(
        known_before(join_all(claims).values(), until), key=lambda c: c.bound
    )
    mapping = settle(early, scheme)
    entries = [
        canonical.entry(canonical.line_of(c), mapping.get(c.image)).encode()
        for c in early
    ]

    with ledger.snapshot() as snapshot:
        terms = roots.terms(snapshot, until)
        proofs = [
            agreement.prove(snapshot, c.bound, until, signing, lambda _n: None)
            for c in early[:3]
        ]

    assert terms.count == len(early)
    assert terms.mapping == root_of(entries)
    assert terms.claims == root_of(
        canonical.line_of(c).encode() for c in early
    )
    assert all(proof.leads_to(terms) for proof in proofs)
    assert [p.entry.encode() for p in proofs] == entries[:3]


def sign_as(region, name, at, *, count=7):
    """Let somebody have signed a moment, with the key of a peer or ours."""
    text = agreements.Terms(
        scheme=region.scheme.fingerprint,
        until=at,
        count=count,
        claims=bytes(32),
        mapping=bytes(32),
    ).text
    private = region.key if name == "RegionOne" else region.peer_key
    region.ledger.signatures.put(at, text, sign(text, name, private))


def test_history_says_who_has_signed_what_and_since_when_all_agree(region):
    for second in (1, 2, 4, 5):
        sign_as(region, "RegionOne", second * UNTIL)
    for second in (1, 4, 5, 6):
        sign_as(region, "RegionTwo", second * UNTIL)
    sign_as(region, "RegionTwo", 3 * UNTIL, count=6)
    sign_as(region, "RegionOne", 3 * UNTIL, count=6)
    sign_as(region, "RegionOne", 3 * UNTIL, count=8)

    done = region.run("agreement", "history", "-f", "json")

    rows = json.loads(done.stdout)
    assert [(r["at"][17:19], r["count"], r["missing"]) for r in rows] == [
        ("01", 7, ""),
        ("02", 7, "RegionTwo"),
        ("03", 6, "RegionOne"),
        ("03", 8, "RegionTwo"),
        ("04", 7, ""),
        ("05", 7, ""),
        ("06", 7, "RegionOne"),
    ]
    assert [r["supersedes"] for r in rows if r["supersedes"]] == [
        "2 more images were claimed before it"
    ]
    assert rows[0]["signed_by"] == "RegionOne RegionTwo"
    assert "agreed from 1970-01-01T00:00:04Z until 1970-01-01T00:00:05Z" in (
        done.stderr
    )
    few = region.run("agreement", "history", "-f", "json", "--limit", "2")
    assert json.loads(few.stdout) == rows[-2:]


def test_history_of_nothing_says_so(region):
    done = region.run("agreement", "history", "-f", "json")

    assert json.loads(done.stdout) == []
    assert "signed by all of RegionOne, RegionTwo" in done.stderr


def test_what_agents_have_signed_stands_below_what_is_shown(region, tmp_path):
    text, _, _ = shown(region).rpartition("\n\n")
    signature = sign(f"{text}\n", "RegionTwo", region.peer_key)
    region.ledger.signatures.put(UNTIL, f"{text}\n", signature)
    sign_as(region, "RegionTwo", 2 * UNTIL)
    own = sign(f"{text}\n", "RegionOne", region.key)
    region.ledger.signatures.put(UNTIL, f"{text}\n", own)
    keys = key(region), f"RegionTwo={region.peer_key.public}"
    note, proof = tmp_path / "note", tmp_path / "proof"

    note.write_text(region.run("agreement", "show").stdout)
    region.run("agreement", "prove", image(3), "-o", str(proof))

    for file in (note, proof):
        agreed = verified(file, *keys)
        assert agreed["at"] == "1970-01-01T00:00:01.000000Z"
        assert agreed["signed_by"] == "RegionOne RegionTwo"
