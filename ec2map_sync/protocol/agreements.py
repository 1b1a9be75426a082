"""What regions agree on at a moment, and what proves an image's part in it.

The text is the same in every region that knows the same: whoever signs it
says so. doc/source/agreement.rst has the formats.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ec2map_sync.protocol import canonical
from ec2map_sync.protocol.notes import BadNote, Note
from ec2map_sync.protocol.signing import PublicKey
from ec2map_sync.rules.claims import Claim, Stamp
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.merkle import Hash, root_by

SETTLED = 10_000_000
"""Microseconds for which a moment has to be over before it is signed, so that
all have heard of what was claimed before."""

_ORIGIN = "ec2map-sync/agreement/v1/"
_PROOF = "ec2map-sync/proof/v1"
_LINES = 5
_DIGITS = 18
"""Of a number, at most: what every database keeps, and every text has room
for."""

MAX_PROOF = 64 * 1024
"""Bytes; one of a million images, signed by three regions, has 1,700."""


def newest_moment(now: Stamp, interval: int = 60) -> Stamp:
    """Returns the newest moment that everybody makes a note of.

    Moments lie an ``interval`` of seconds apart; who chooses within the same
    one chooses the same, and need not ask.
    """
    every = interval * 1_000_000
    return (now - SETTLED) // every * every


def _text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def hash_of(text: str) -> Hash:
    """Reads a hash in base64.

    :raises BadNote: it is none, or has loose bits.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if _text_of(data) != text or len(data) != 32:  # noqa: PLR2004, SHA-256
        raise BadNote(f"{text[:50]!r} is no hash")
    return data


def count_of(text: str) -> int:
    """Reads a number, as only one spelling has it.

    :raises BadNote: it is none, or larger than a stamp can be.
    """
    digits = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    if not digits or str(int(text)) != text:
        raise BadNote(f"{text[:20]!r} is no number")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is signed: what was known before a stamp, and what is settled."""

    scheme: str
    until: Stamp
    count: int
    claims: Hash
    """Root of the claims."""
    mapping: Hash
    """Root of the claims with the numbers settled from them."""

    @property
    def text(self) -> str:
        """The text of a note."""
        return (
            f"{_ORIGIN}{self.scheme}\n{self.until}\n{self.count}\n"
            f"{_text_of(self.claims)}\n{_text_of(self.mapping)}\n"
        )

    @classmethod
    def parse(cls, text: str) -> "Terms":
        """Reads the text of a note.

        :raises BadNote: it is about something else, or malformed.
        """
        lines = text.removesuffix("\n").split("\n")
        if not text.startswith(_ORIGIN) or len(lines) != _LINES:
            raise BadNote("it is a note about something else")
        origin, until, count, claims, mapping = lines
        return cls(
            scheme=origin.removeprefix(_ORIGIN),
            until=count_of(until),
            count=count_of(count),
            claims=hash_of(claims),
            mapping=hash_of(mapping),
        )


def difference(ours: Terms, theirs: Terms) -> str | None:
    """Returns in what two notes differ; None if they are of the same."""
    for name, what in (
        ("scheme", "ids are derived otherwise there"),
        ("until", "it is of another moment"),
        ("count", f"{theirs.count} images there, {ours.count} here"),
        ("claims", "of some images, other things are known there"),
        ("mapping", "the same is known there, and other ids came of it"),
    ):
        if getattr(ours, name) != getattr(theirs, name):
            return what
    return None


def superseding(former: Terms, terms: Terms) -> str:
    """Says what has become known of a moment since another note of it."""
    more = terms.count - former.count
    if more > 0:
        return f"{more} more images were claimed before it"
    if more < 0:
        return f"{-more} images fewer are known"
    if former.claims != terms.claims:
        return "of some images, other things were known before it"
    return "other ids come of the same claims"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That an image has a number in the mapping that a note is about."""

    entry: str
    index: int
    path: tuple[Hash, ...]
    note: Note

    def __str__(self) -> str:
        hashes = "".join(f"{_text_of(one)}\n" for one in self.path)
        return f"{_PROOF}\n{self.entry}\n{self.index}\n{hashes}\n{self.note}"

    @classmethod
    def parse(cls, data: bytes) -> "Proof":
        """Reads a proof; what it proves is not looked at.

        :raises BadNote: it is none.
        """
        head, blank, note = data.partition(b"\n\n")
        try:
            name, entry, index, *path = head.decode().split("\n")
        except ValueError as error:
            raise BadNote("it is no proof") from error
        if name != _PROOF or not blank:
            raise BadNote("it is no proof")
        return cls(
            entry=entry,
            index=count_of(index),
            path=tuple(map(hash_of, path)),
            note=Note.parse(note),
        )

    def leads_to(self, terms: Terms) -> bool:
        """Returns whether the entry is one of a note's mapping."""
        leaf = self.entry.encode()
        root = root_by(leaf, self.index, terms.count, self.path)
        return root == terms.mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an entry of a mapping says."""

    claim: Claim
    number: int | None

    @property
    def ec2_id(self) -> str | None:
        """The image's EC2 id at that moment; None if it had none."""
        return self.claim.ec2_id(self.number)

    @classmethod
    def parse(cls, line: str) -> "Entry":
        """Reads an entry.

        :raises BadNote: it is none.
        """
        try:
            number = _number_of(json.loads(line))
            text, _, _ = line.rpartition(',"number":')
            claim = canonical.claim_of_line(f"{text}}}", canonical.FOREVER)
        except (BadMessage, ValueError, RecursionError) as error:
            raise BadNote(f"{line[:40]!r} is no entry of a mapping") from error
        return cls(claim=claim, number=number)


def _number_of(fields: Any) -> int | None:
    number = fields.get("number", "") if isinstance(fields, dict) else ""
    if number is not None and type(number) is not int:
        raise ValueError(number)
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What a file was found to say, and who stands for it."""

    terms: Terms
    signers: tuple[str, ...]
    entry: Entry | None = None
    """If it is a proof."""


def verify(data: bytes, keys: Iterable[tuple[str, PublicKey]]) -> Agreed:
    """Looks whether a note or a proof holds, and all who are named sign it.

    A region may have several keys; one of them has to have signed.

    :raises BadNote: it is malformed, was changed, or lacks a signature.
    """
    keys = list(keys)
    if len(data) > MAX_PROOF:
        raise BadNote("it is too long to be a note, or a proof")
    proof = Proof.parse(data) if data.startswith(_PROOF.encode()) else None
    note = proof.note if proof else Note.parse(data)
    terms = Terms.parse(note.text)
    signers = note.signers(keys)
    missing = sorted({name for name, _ in keys} - signers)
    if missing or not signers:
        raise BadNote(
            f"{' and '.join(missing) or 'nobody who is known'} has not signed "
            "it with this key"
        )
    if proof and not proof.leads_to(terms):
        raise BadNote(
            "the image's entry is not in the mapping that was signed: it, "
            "its path, or the note is of something else"
        )
    return Agreed(
        terms=terms,
        signers=tuple(sorted(signers)),
        entry=Entry.parse(proof.entry) if proof else None,
    )
