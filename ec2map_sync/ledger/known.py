"""What the ledger knows of images: its rows, read as values."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from ec2map_sync.ledger import tables
from ec2map_sync.rules.canaries import is_canary
from ec2map_sync.rules.claims import (
    Claim,
    Print,
    SeenKind,
    Sighting,
    Stamp,
    Wanted,
    claim_of,
)
from ec2map_sync.rules.ec2id import KINDS, Kind, Scheme
from ec2map_sync.rules.errors import NoHead, SchemeMismatch
from ec2map_sync.rules.settle import Slot, Wish
from ec2map_sync.sql.images import text_of
from ec2map_sync.sql.statements import among, batched, select_in

# A number that is only reserved is nobody's mapping.
MAPPED = sa.and_(
    tables.claims.c.image == tables.numbers.c.wish_image,
    tables.claims.c.number == tables.numbers.c.number,
)
"""Which claim a row of numbers belongs to."""

# Made once: SQLAlchemy takes longer to make a statement than to run it.
_CLAIMS = sa.select(tables.claims)
_NUMBERS = sa.select(tables.numbers)
_PASSED = sa.select(tables.passed)

AS_KEY = "-"
"""Stands in ``spelled`` for the image's own key, as nearly all are spelled."""

UUID: sa.ColumnElement[str] = sa.case(
    (tables.claims.c.spelled == AS_KEY, text_of(tables.claims.c.image)),
    (tables.claims.c.spelled != "", tables.claims.c.spelled),
    (tables.claims.c.spelling != "", tables.claims.c.spelling),
    else_=text_of(tables.claims.c.image),
)
"""`Known.uuid`, of a row, in SQL."""

OWN = sa.and_(
    tables.own_claims.c.revision == tables.claims.c.own_revision,
    tables.own_claims.c.image == tables.claims.c.image,
)
"""Which claim a row of `own_claims` belongs to."""


def require_scheme(filled: str, scheme: Scheme) -> None:
    """Makes sure that a ledger was filled under a scheme, or is empty.

    :raises SchemeMismatch: it was not.
    """
    if filled not in {"", scheme.fingerprint}:
        raise SchemeMismatch(
            f"the ledger was filled under scheme {filled}, but hash_key and "
            f"band now give {scheme.fingerprint}: put [ec2_ids] hash_key "
            "back, or start with an empty ledger"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far a ledger has come."""

    identity: str
    """Made with the ledger; a restored one keeps it."""
    revision: int
    last_stamp: Stamp
    total: Print
    clock: Stamp | None = field(default=None, compare=False)
    """The time by the database's own clock, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A claim as the ledger has it."""

    claim: Claim
    number: int | None = None
    own_revision: int | None = None
    hash: int
    """As it is stored: that of another claim, if the row was changed."""
    spelled: str = ""
    """The UUID as this region's Glance has told of it first, if it has."""

    @property
    def is_damaged(self) -> bool:
        """Whether somebody has changed the claim."""
        return self.hash != self.claim.hash

    @property
    def uuid(self) -> str:
        """The UUID as sinks hold it here."""
        return self.spelled or self.claim.uuid


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """What a ledger knew of some images at a revision, read without lock."""

    revision: int
    known: Mapping[str, Known]
    free: frozenset[int]
    """Of the numbers that they like best, those that nobody has ever had."""

    def has_news(self, sightings: Iterable[Sighting], now: Stamp) -> bool:
        """Returns whether what was seen can have any news."""
        for sighting in sightings:
            known = self.known.get(sighting.image)
            if claim_of(sighting, known.claim if known else None, now):
                return True
            if sighting.announced and not (known and known.spelled):
                return True
        return False


def head_row(result: sa.Result[Any]) -> Row[Any]:
    """Returns the one row of a statement that reads the head.

    :raises NoHead: somebody has deleted it.
    """
    try:
        return result.one()
    except sa.exc.InvalidRequestError as error:
        raise NoHead from error


def head_of(row: Row[Any]) -> Head:
    """Reads the head row."""
    return Head(
        identity=row.identity,
        revision=row.revision,
        last_stamp=row.last_stamp,
        total=Print(row.total_count, row.total_sum),
    )


def claim_of_row(row: Row[Any]) -> Claim:
    """Reads a claim from a row of the claims table.

    Whatever stands there: a row that was changed by hand holds nobody up.
    """
    kind = kind_named(row.kind)
    return Claim(
        claimed_at=row.claimed_at,
        image=row.image,
        spelling=row.spelling,
        wanted=None
        if row.wanted_at is None or not row.wanted
        else Wanted(row.wanted_at, row.wanted),
        kind=None
        if row.kind_at is None or kind is None
        else SeenKind(row.kind_at, kind),
    )


def uuid_of(row: Row[Any], image: str) -> str:
    """Returns `Known.uuid`, of a row of the claims table."""
    return spelled_of(row.spelled, image) or str(row.spelling) or image


def spelled_of(stored: str, image: str) -> str:
    """Reads `Known.spelled`, as the claims table has it."""
    return image if stored == AS_KEY else stored


def kind_named(text: str | None) -> Kind | None:
    """Reads a kind; None where there is none, or what is none."""
    return KINDS.get(text) if text else None


def intact(rows: Iterable[Row[Any]]) -> Iterator[Claim]:
    """Reads claims; leaves out those that their hash shows changed."""
    for row in rows:
        claim = claim_of_row(row)
        if claim.hash == row.hash:
            yield claim


def row_of(known: Known) -> tuple[Any, ...]:
    """Returns the values of a row of the claims table, in its order."""
    claim = known.claim
    return (
        claim.image,
        claim.claimed_at,
        claim.wanted.at if claim.wanted else None,
        claim.kind.at if claim.kind else None,
        known.hash,
        known.own_revision,
        known.number,
        claim.wanted.number if claim.wanted else None,
        str(claim.kind.kind) if claim.kind else None,
        claim.spelling,
        AS_KEY if known.spelled == claim.image else known.spelled,
    )


def number_in_sql(number: int) -> sa.ColumnElement[int]:
    """Returns a number that may be beyond all that an image can have."""
    return sa.literal(number, sa.BigInteger)


def glimpse(
    connection: Connection, images: Collection[str], scheme: Scheme
) -> Glimpse:
    """Looks without the lock, which most batches do not need.

    An image that is known has sat, or gone by, where it likes best. So
    nothing is known of those that like best what nobody has ever had.
    """
    head, n = tables.head, tables.numbers
    homes = {i: scheme.derive(i) for i in images if not is_canary(i)}
    revision, free = 0, set(homes.values())
    for some in batched(homes.values()):
        # The revision is read first of all: if it is still the same behind
        # the lock, nothing was committed since.
        there = head.outerjoin(n, among(n.c.number, some))
        rows = connection.execute(
            sa.select(head.c.revision, n.c.number).select_from(there)
        ).all()
        if not rows:
            raise NoHead
        revision = revision or rows[0].revision
        free -= {row.number for row in rows}
    maybe = {i for i in images if homes.get(i) not in free}
    known = look_up(connection, maybe)
    return Glimpse(revision=revision, known=known, free=frozenset(free))


def look_up(connection: Connection, images: Iterable[str]) -> dict[str, Known]:
    """Reads what is known of some images."""
    c = tables.claims
    rows = select_in(connection, _CLAIMS, c.c.image, images)
    return {row.image: known_of(row) for row in rows}


def known_of(row: Row[Any]) -> Known:
    """Reads a row of the claims table."""
    return Known(
        claim=claim_of_row(row),
        number=row.number,
        own_revision=row.own_revision,
        hash=row.hash,
        spelled=spelled_of(row.spelled, row.image),
    )


def slots_of(
    connection: Connection, numbers: Collection[int], *, whole: bool = False
) -> tuple[dict[int, Slot], dict[int, int]]:
    """Reads slots, and the revisions at which they were changed last.

    ``whole``: also of numbers of which nothing is left but who has gone by.
    """
    n, p = tables.numbers, tables.passed
    slots: dict[int, Slot] = {}
    revisions: dict[int, int] = {}
    read = partial(select_in, connection)
    for row in read(_NUMBERS, n.c.number, numbers):
        revisions[row.number] = row.revision
        slots[row.number] = Slot(
            wish_of(row) if row.wish_image is not None else None
        )
    there = numbers if whole else slots.keys()
    for row in read(_PASSED, p.c.number, there):
        revisions.setdefault(row.number, 0)
        slots.setdefault(row.number, Slot()).passed.add(wish_of(row))
    return slots, revisions


def load_slots(
    connection: Connection, numbers: Collection[int]
) -> dict[int, Slot]:
    """Reads slots, where nobody needs to know when they were changed."""
    return slots_of(connection, numbers)[0]


def wish_of(row: Row[Any]) -> Wish:
    """Reads a wish from a row of the tables numbers or passed."""
    wanted = row.number if row.wish_wanted else 0
    return Wish(row.wish_at or 0, row.wish_image, wanted)
