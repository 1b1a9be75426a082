"""Rows that a sink holds: what each is to us, and what a guest sees."""

from dataclasses import dataclass, field
from enum import StrEnum

from ec2map_sync.rules.ec2id import DERIVED, LEGACY, Kind, Scheme

LAST = 2**32
"""No number is above: ec2-api's own ids have 32 bits, Nova's 31."""


class RowClass(StrEnum):
    """What a row in a sink is, seen from what is settled."""

    OURS = "ours"
    """As settled."""
    STALE = "stale"
    """Ours, but settled otherwise by now; the Writer removes it."""
    LOST = "lost"
    """Ours, of an image that the ledger does not know (any more)."""
    LEGACY = "legacy"
    """Nova's own, from before us; can be adopted."""
    ON_DEMAND = "on-demand"
    """Nova's own, made beside us or before our row was there."""
    TAKEN = "taken"
    """Somebody's, under a number that is settled for another image."""
    FOREIGN = "foreign"
    """Somebody's, in our band."""
    UNKNOWN = "unknown"
    """Of an image that the ledger does not know."""


DIVERGING = frozenset(
    {RowClass.LEGACY, RowClass.ON_DEMAND, RowClass.TAKEN, RowClass.FOREIGN}
)
"""What operators are told of."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SinkRow:
    """A row as it was found, or as it should be."""

    number: int
    uuid: str
    kind: Kind | None = field(default=None, compare=False)
    """The prefix that it has, where a sink holds one."""

    def has_id_of(self, kind: Kind | None) -> bool:
        """Returns whether an id with this prefix means the row."""
        return self.kind in {None, kind or Kind.AMI}


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """A row that is not as settled."""

    sink: str
    number: int
    """Under which the row was found."""
    image: str
    row_class: RowClass
    settled: int | None
    """The number that is settled for the image."""
    kept: bool = False
    """Whether the operator has chosen to leave it so."""

    @property
    def replaceable(self) -> bool:
        """Whether anything is settled that could take the row's place."""
        return self.settled is not None or self.row_class is RowClass.TAKEN


def classify(
    row: SinkRow,
    *,
    settled: int | None,
    holder: str | None,
    scheme: Scheme,
    inserted: bool,
) -> RowClass:
    """Returns what a row is.

    ``settled`` is the number of the row's image, ``holder`` the image (as a
    lower-cased key) that the row's number is settled for, each None if there
    is none; ``inserted`` whether the ledger remembers that we put it there.
    """
    derivable = scheme.could_derive(row.uuid.lower(), row.number)
    if settled == row.number:
        return RowClass.OURS
    if settled is None and derivable:
        # Not stale: a ledger that was emptied must not empty its sinks.
        return RowClass.LOST
    if derivable or inserted:
        return RowClass.STALE
    return class_of_others(row, holder=holder, known=settled is not None)


def class_of_others(
    row: SinkRow, *, holder: str | None, known: bool
) -> RowClass:
    """Returns what a row is that is none of ours (any more).

    ``known`` is whether the ledger knows its image.
    """
    if holder is not None and holder != row.uuid.lower():
        return RowClass.TAKEN
    if row.number in DERIVED:
        return RowClass.FOREIGN
    if not known:
        return RowClass.UNKNOWN
    return RowClass.LEGACY if row.number in LEGACY else RowClass.ON_DEMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """What a sink should hold under a number: an image, or nothing."""

    number: int
    uuid: str | None
    kind: Kind | None = None
    adopted: bool = False
    """Whether it is a wanted number, not one that its image derives."""
    hearsay: bool = False
    """Whether only other regions have told how the UUID is spelled."""

    def is_held_by(self, uuid: str) -> bool:
        """Returns whether a row with this UUID is as settled.

        One that was there before stays as it is spelled, as long as only
        other regions spell it otherwise: Nova here looks up by it.
        """
        if self.hearsay and self.uuid:
            return self.uuid.lower() == uuid.lower()
        return self.uuid == uuid
