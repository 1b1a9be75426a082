"""Statements: what a region has signed before, and how far its feed has come.

The text of a note is the same in all regions. Beside it, each region signs a
statement of its own, which names the one before: so it cannot have said two
things, or take anything back, without showing it. doc/source/agreement.rst
has the format.
"""

import base64
from dataclasses import dataclass
from hashlib import sha256

from ec2map_sync.protocol.agreements import Terms, count_of, hash_of
from ec2map_sync.protocol.notes import BadNote
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.merkle import Hash

_ORIGIN = "ec2map-sync/statement/v1"
_LINES = 8
_NOTHING = bytes(32)


def digest(text: str) -> Hash:
    """Returns the hash of a text that was signed."""
    return sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """That a region signs a note, and after what."""

    region: str
    began: Stamp
    """When its feed began: another one each time that its ledger is new, or
    was restored."""
    serial: int
    """The place among all statements about this feed, from 1 on."""
    previous: Hash = _NOTHING
    """Of the statement before."""
    length: int
    """How many changes its ledger has recorded."""
    note: Hash
    """Of the text that is signed."""
    superseded: Hash = _NOTHING
    """Of the text of the same moment that it takes the place of."""

    @property
    def place(self) -> tuple[Stamp, int]:
        """Where it stands among all of its region, by their order."""
        return self.began, self.serial

    @property
    def text(self) -> str:
        """The text that is signed."""
        hashes = (self.previous, self.note, self.superseded)
        previous, note, superseded = (
            base64.b64encode(one).decode() for one in hashes
        )
        return (
            f"{_ORIGIN}\n{self.region}\n{self.began}\n{self.serial}\n"
            f"{previous}\n{self.length}\n{note}\n{superseded}\n"
        )

    @classmethod
    def parse(cls, text: str) -> "Statement":
        """Reads the text of a statement.

        :raises BadNote: it is something else, or malformed.
        """
        lines = text.removesuffix("\n").split("\n")
        if lines[0] != _ORIGIN or len(lines) != _LINES:
            raise BadNote("it is no statement")
        _, region, began, serial, previous, length, note, superseded = lines
        return cls(
            region=region,
            began=count_of(began),
            serial=count_of(serial),
            previous=hash_of(previous),
            length=count_of(length),
            note=hash_of(note),
            superseded=hash_of(superseded),
        )

    def next(
        self, *, length: int, text: str, former: str | None
    ) -> "Statement":
        """Returns the one that follows, about the text of a note.

        ``former`` is what was signed of the same moment before, if any.
        """
        return Statement(
            region=self.region,
            began=self.began,
            serial=self.serial + 1,
            previous=digest(self.text),
            length=length,
            note=digest(text),
            superseded=digest(former) if former else _NOTHING,
        )


def first(region: str, began: Stamp, *, length: int, text: str) -> Statement:
    """Returns the first statement about a feed."""
    return Statement(
        region=region,
        began=began,
        serial=1,
        length=length,
        note=digest(text),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The newest that is known of a region: its statement, and its note."""

    statement: Statement
    terms: Terms


def lacks(known: Statement, held: Statement) -> bool:
    """Returns whether who knows one as its newest has lost another one.

    Both are its own. In one feed, what comes later is no shorter.
    """
    return (held.place >= known.place and held.text != known.text) or (
        held.began == known.began and held.length > known.length
    )


def contradiction(
    known: Position, said: Position, same: Terms | None, *, missed: bool
) -> str | None:
    """Returns in what a region contradicts what it has signed, if it does.

    ``same`` is what it has signed of the same moment before, if that is
    known; ``missed`` whether a statement may have been missed since that was
    heard, and so what superseded it. What was announced to begin anew
    contradicts nothing.
    """
    before, now = known.statement, said.statement
    if now.began > before.began:
        return None
    missed |= now.serial > before.serial + 1
    return _of_the_feed(before, now) or _of_the_set(
        known.terms, said, same, missed=missed
    )


def _of_the_feed(before: Statement, now: Statement) -> str | None:
    if now.began < before.began:
        return "it goes on with a feed that it had given up"
    if now.serial == before.serial and now.text != before.text:
        return f"it has signed two statements numbered {now.serial}"
    if now.serial < before.serial:
        return (
            f"its statement is numbered {now.serial}, and {before.serial} "
            "was before: it was restored, and has not said so"
        )
    if now.serial == before.serial + 1 and now.previous != digest(before.text):
        return "its statement does not follow from the one before"
    if now.length < before.length:
        return (
            f"its feed has {now.length} changes, and had {before.length}: it "
            "was restored, and has not said so"
        )
    return None


def _of_the_set(
    before: Terms, said: Position, same: Terms | None, *, missed: bool
) -> str | None:
    """Looks at the set: it only grows, and is not exchanged in silence."""
    terms, named = said.terms, said.statement.superseded
    if same and same.text != terms.text:
        follows = named == digest(same.text)
        if not follows and not (missed and named != _NOTHING):
            return "it has signed another set of the same moment"
        if terms.count < same.count:
            before = same
    if terms.until >= before.until and terms.count < before.count:
        return (
            f"{before.count - terms.count} images are gone that it had signed"
        )
    return None
