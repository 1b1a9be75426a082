"""What operators ask of a ledger: questions only, each one short."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.allowance import lately
from ec2map_sync.ledger.known import (
    MAPPED,
    OWN,
    UUID,
    claim_of_row,
    number_in_sql,
    uuid_of,
    wish_of,
)
from ec2map_sync.ledger.part import Part
from ec2map_sync.ledger.ranges import cuts, within
from ec2map_sync.rules.canaries import SPACE
from ec2map_sync.rules.claims import Bound, Claim, Span, Stamp
from ec2map_sync.rules.ec2id import MAX_NUMBER
from ec2map_sync.rules.settle import Wish
from ec2map_sync.sql.images import begins_with, key_of
from ec2map_sync.sql.rowprints import Prints, add_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """An image's claim, and the number that it has got."""

    claim: Claim
    number: int | None
    uuid: str
    """As sinks hold it here."""

    @property
    def ec2_id(self) -> str | None:
        """The EC2 id; None if the image has got no number."""
        return self.claim.ec2_id(self.number)

    @property
    def after(self) -> Bound:
        """Where the claims begin that follow this one."""
        return self.claim.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """That an image's number has changed, and whose claim was the cause."""

    at: Stamp
    revision: int
    image: str
    old: int
    new: int | None
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a reader has not come to yet.

    ``oldest`` is the newest stamp of the oldest change that waits: since
    then, at the longest, it has been waiting. None if that is not known.
    """

    count: int
    oldest: Stamp | None = None


class Fed(NamedTuple):
    """A place among changed numbers: everything up to it has been read."""

    revision: int
    number: int = MAX_NUMBER
    """Of this revision; by default it has been read whole."""


Settled = tuple[int, str]
"""A number, and the UUID that a sink should hold under it."""


SLICE = 100_000
"""Claims that one statement adds up: that of all would be given up."""

MAPPING = sa.select(tables.claims)
"""Claims as `Mapped` has them."""

# Made once: to make one costs as much as to run it, and look-ups are many.
_NUMBER = sa.bindparam("number", type_=sa.BigInteger)
_OF_IMAGE = MAPPING.where(tables.claims.c.image == sa.bindparam("image"))
_OF_NUMBER = MAPPING.where(
    tables.claims.c.image
    == sa.select(tables.numbers.c.wish_image)
    .where(tables.numbers.c.number == _NUMBER)
    .scalar_subquery(),
    tables.claims.c.number == _NUMBER,
)


class Queries(Part):
    """Reads the ledger for an operator; changes nothing."""

    def by_image(self, image: str) -> Mapped | None:
        """Looks an image up."""
        rows = self._rows(_OF_IMAGE, image=image)
        return next(map(_read, rows), None)

    def by_number(self, number: int) -> Mapped | None:
        """Looks the image up whose mapping a number is."""
        rows = self._rows(_OF_NUMBER, number=number)
        return next(map(_read, rows), None)

    def by_images(self, images: Iterable[str]) -> list[Mapped]:
        """Looks many images up, in no order."""
        c = tables.claims
        return list(map(_read, self._rows_in(MAPPING, c.c.image, images)))

    def by_numbers(self, numbers: Iterable[int]) -> list[Mapped]:
        """Looks the images up whose mappings these numbers are."""
        n = tables.numbers
        statement = MAPPING.join(n, MAPPED)
        return list(map(_read, self._rows_in(statement, n.c.number, numbers)))

    def fed(self, after: Fed, limit: int) -> list[tuple[Fed, Mapped]]:
        """Returns the first mappings that have changed since a place.

        In the order in which this ledger has committed them: what comes
        later lies behind all that is there.
        """
        n = tables.numbers
        statement = (
            MAPPING.add_columns(n.c.revision)
            .join(n, MAPPED)
            .where(
                n.c.revision >= after.revision,
                sa.or_(
                    n.c.revision > after.revision, n.c.number > after.number
                ),
            )
            .order_by(n.c.revision, n.c.number)
            .limit(limit)
        )
        return [
            (Fed(row.revision, row.number), _read(row))
            for row in self._rows(statement)
        ]

    def place_of(self, number: int) -> Fed | None:
        """Returns where in that order a number is."""
        n = tables.numbers.c
        revision = sa.select(n.revision).where(
            n.number == number_in_sql(number)
        )
        found = self._scalar(revision)
        return None if found is None else Fed(found, number)

    def moves_since(self, at: Stamp, limit: int) -> list[Move]:
        """Returns the last moves since a stamp, the newest first."""
        m = tables.moves
        statement = (
            sa.select(m.c.at, m.c.revision, m.c.image, m.c.old, m.c.new)
            .add_columns(m.c.cause)
            .where(m.c.at >= at)
            .order_by(m.c.id.desc())
            .limit(limit)
        )
        return [Move(**row._mapping) for row in self._rows(statement)]

    def mappings(
        self, span: Span, limit: int, *, moved: bool = False
    ) -> list[Mapped]:
        """Returns the first mappings of a span, by (claimed_at, image).

        Canaries are no images.
        """
        c, m = tables.claims, tables.moves
        conditions = [*within(span), ~begins_with(c.c.image, SPACE)]
        if moved:
            conditions.append(c.c.image.in_(sa.select(key_of(m.c.image))))
        return self._mapped(*conditions, limit=limit)

    def own(self, span: Span, limit: int) -> list[Mapped]:
        """Returns the first mappings of a span that were claimed here."""
        c = tables.claims
        return self._mapped(
            *within(span), c.c.own_revision.is_not(None), limit=limit
        )

    def settled(
        self, start: int, stop: int, limit: int, *, known_kind: bool = False
    ) -> list[Settled]:
        """Returns the first numbers of a range that are an image's mapping.

        ``known_kind`` leaves out images whose kind is not known yet.
        """
        n, c = tables.numbers, tables.claims
        statement = (
            sa.select(n.c.number, c.c.image, c.c.spelling, c.c.spelled)
            .join(c, MAPPED)
            .where(
                n.c.number >= number_in_sql(start),
                n.c.number < number_in_sql(stop),
            )
            .order_by(n.c.number)
            .limit(limit)
        )
        if known_kind:
            statement = statement.where(c.c.kind.is_not(None))
        rows = self._rows(statement)
        return [(row.number, uuid_of(row, row.image)) for row in rows]

    def settled_prints(self, start: int, stop: int) -> Prints:
        """Returns the prints of the rows that a sink should hold in a range.

        The claims alone tell, without looking each of them up in numbers.
        """
        number = tables.claims.c.number
        first, end = number_in_sql(start), number_in_sql(stop)
        with self._engine.connect() as connection:
            spans = list(cuts(connection, SLICE))
        return add_up(
            self._engine,
            number,
            UUID,
            [
                sa.and_(*within(span), number >= first, number < end)
                for span in spans
            ],
        )

    def wishes(self, numbers: Iterable[int]) -> dict[int, Wish]:
        """Returns who sits on some numbers, as mapping or reserved."""
        n = tables.numbers
        return {
            row.number: wish_of(row)
            for row in self._rows_in(sa.select(n), n.c.number, numbers)
            if row.wish_image is not None
        }

    def moves(self, images: Iterable[str]) -> list[Move]:
        """Returns the moves of some images, in order."""
        m = tables.moves
        statement = sa.select(
            m.c.at, m.c.revision, m.c.image, m.c.old, m.c.new, m.c.cause
        )
        rows = self._rows_in(statement, m.c.image, images)
        found = [Move(**row._mapping) for row in rows]
        return sorted(found, key=lambda move: (move.at, move.revision))

    def former(self, numbers: Iterable[int]) -> dict[int, list[str]]:
        """Returns the images that left some numbers, the last one first."""
        m = tables.moves
        statement = sa.select(m.c.id, m.c.old, m.c.image)
        found: dict[int, list[str]] = {}
        for row in sorted(
            self._rows_in(statement, m.c.old, numbers), reverse=True
        ):
            found.setdefault(row.old, []).append(row.image)
        return found

    def cursors(self) -> dict[str, int]:
        """Returns how far each reader has come."""
        c = tables.cursors.c
        return dict(self._rows(sa.select(c.name, c.revision)))

    def numbers_after(self, revision: int) -> Backlog:
        """Returns what a sink at this revision has not come to yet."""
        n, c = tables.numbers, tables.claims
        oldest = (
            sa.select(c)
            .join(n, n.c.wish_image == c.c.image)
            .where(n.c.revision == _next(n.c.revision, revision))
        )
        return self._backlog(n.c.revision, revision, oldest)

    def changed_after(self, revision: int) -> Stamp | None:
        """Returns when the first change behind a revision was claimed.

        Some numbers of that change are enough to tell: what moved because
        of a claim is older, what was claimed with it as old.
        """
        n, c = tables.numbers, tables.claims
        some = (
            sa.select(n.c.wish_image)
            .where(n.c.revision == _next(n.c.revision, revision))
            .limit(20)
            .subquery()
        )
        statement = sa.select(c).join(some, some.c.wish_image == c.c.image)
        rows = self._rows(statement)
        return max((claim_of_row(row).newest for row in rows), default=None)

    def own_claims_after(self, revision: int) -> Backlog:
        """Returns what a publisher at this revision has not come to yet."""
        c, own = tables.claims, tables.own_claims
        oldest = (
            sa.select(c)
            .join(own, OWN)
            .where(own.c.revision == _next(own.c.revision, revision))
        )
        return self._backlog(own.c.revision, revision, oldest)

    def move_count(self) -> int:
        """Counts the moves so far."""
        return int(self._scalar(sa.select(sa.func.count(tables.moves.c.id))))

    def evictions_lately(self, now: Stamp) -> dict[str, int]:
        """Returns how many numbers images have lost in a day, by peer."""
        return dict(self._rows(lately(now)))

    def _mapped(
        self, *conditions: sa.ColumnElement[bool], limit: int | None = None
    ) -> list[Mapped]:
        c = tables.claims
        statement = (
            MAPPING.where(*conditions)
            .order_by(c.c.claimed_at, c.c.image)
            .limit(limit)
        )
        return list(map(_read, self._rows(statement)))

    def _backlog(
        self, column: sa.Column[Any], revision: int, oldest: sa.Select[Any]
    ) -> Backlog:
        count = sa.select(sa.func.count(column)).where(column > revision)
        with self._engine.connect() as connection:
            waiting = connection.scalar(count) or 0
            rows = connection.execute(oldest.limit(1000)) if waiting else ()
            stamps = [claim_of_row(row).newest for row in rows]
        return Backlog(count=waiting, oldest=max(stamps, default=None))


def _read(row: Any) -> Mapped:
    uuid = uuid_of(row, row.image)
    return Mapped(claim=claim_of_row(row), number=row.number, uuid=uuid)


def _next(column: sa.Column[Any], revision: int) -> sa.ScalarSelect[Any]:
    return (
        sa.select(sa.func.min(column))
        .where(column > revision)
        .correlate(None)
        .scalar_subquery()
    )
