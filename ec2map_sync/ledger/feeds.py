"""The feeds: what has changed since a revision, and who has come how far."""

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.known import (
    OWN,
    Head,
    head_of,
    head_row,
    intact,
    kind_named,
    look_up,
    uuid_of,
)
from ec2map_sync.ledger.part import Part
from ec2map_sync.ledger.statements import KnownStatement, statement_of
from ec2map_sync.rules import names
from ec2map_sync.rules.claims import Claim, Print, Stamp
from ec2map_sync.rules.errors import Contradicted, NoHead
from ec2map_sync.rules.rows import Numbered
from ec2map_sync.sql.errors import again

# No more than that: each value of each row is read in Python.
NUMBERED = sa.select(
    tables.numbers.c.number,
    tables.numbers.c.wish_image,
    tables.numbers.c.wish_wanted,
    tables.claims.c.wanted,
    tables.claims.c.kind,
    tables.claims.c.spelling,
    tables.claims.c.spelled,
    tables.claims.c.number.label("mapped"),
).outerjoin(
    tables.claims, tables.claims.c.image == tables.numbers.c.wish_image
)
"""What a sink should hold under numbers; `numbered_of` reads the rows."""


DROPPED = 100_000
"""Rows, about, that one statement drops: that of all could be given up."""

_c = tables.cursors.c


def _feed(
    statement: sa.Select[Any], revision: sa.Column[Any]
) -> sa.Select[Any]:
    return statement.where(
        revision > sa.bindparam("after"), revision <= sa.bindparam("upto")
    )


_OF_READER = _c.name == sa.bindparam("reader")
_ADVANCE = sa.update(tables.cursors).where(_OF_READER)
_CHANGED = _feed(NUMBERED, tables.numbers.c.revision)
_OWN = _feed(
    sa.select(tables.claims).join(tables.own_claims, OWN),
    tables.own_claims.c.revision,
)


PUBLISHING = str(names.PUBLISHER)
"""The one reader that is not named after a sink."""

_HOLD = (
    sa.select(_c.revision, sa.select(tables.head.c.revision).scalar_subquery())
    .where(_OF_READER)
    .with_for_update(skip_locked=True)
)
_LOOK = sa.select(
    tables.head.c.revision,
    sa.select(_c.revision).where(_OF_READER).scalar_subquery(),
)


@dataclass(slots=True)
class Reader:
    """A cursor over the feeds, held by one reader at a time.

    It reads on the connection that holds the cursor: with READ COMMITTED,
    each statement sees what is committed by then. Whoever holds it needs no
    second session of the ledger: behind a pooler there may be none left, and
    those who hold one would wait for each other.
    """

    _connection: Connection
    _name: str
    revision: int
    """Everything up to there has taken effect."""
    _newest: int
    """The revision of the head, when reading began."""

    def own_claims(self, limit: int) -> tuple[list[Claim], int]:
        """Returns about ``limit`` claims made here since, and up to when."""
        upto, _ = self._until(tables.own_claims.c.revision, limit)
        if upto <= self.revision:
            return [], upto
        rows = self._read(_OWN, upto)
        return list(intact(rows)), upto

    def numbers(self, limit: int) -> tuple[int, bool]:
        """Returns until when about ``limit`` numbers have changed since.

        And whether there may be more.
        """
        return self._until(tables.numbers.c.revision, limit)

    def changed(self, upto: int) -> list[Numbered]:
        """Returns what a sink should hold under the numbers changed since.

        Those whose last change is a revision up to ``upto``.

        :raises Contradicted: the claims say something else of some of them.
        """
        rows = self._read(_CHANGED, upto)
        damaged = damaged_of(self._connection, rows)
        self._renew()
        return numbered_of(rows, damaged)

    def print_before(self, until: Stamp) -> tuple[Head, Print]:
        """Returns the head, and the print of claims made before a stamp."""
        row, before = ranges.print_before(self._connection, until)
        self._renew()
        return head_of(row), before

    def last_signed(self, region: str) -> KnownStatement | None:
        """Returns what a region has signed last."""
        last = statement_of(self._connection, region)
        self._renew()
        return last

    def advance(self, revision: int) -> None:
        """Remembers that everything up to a revision has taken effect."""
        self._connection.execute(
            _ADVANCE, {"reader": self._name, "revision": revision}
        )
        self.revision = revision

    def _until(self, revision: sa.Column[Any], limit: int) -> tuple[int, bool]:
        """Returns up to which revision about ``limit`` rows of a feed lie.

        Readers take whole revisions. Where there are not as many rows, that
        is the newest one; and False, for there are no more.
        """
        if self._newest <= self.revision + 1:
            # On an idle machine: nothing, or one revision, and so a whole.
            return self._newest, False
        full = (
            sa.select(revision)
            .where(revision > self.revision)
            .order_by(revision)
            .offset(limit - 1)
            .limit(1)
        )
        newest = sa.select(tables.head.c.revision)
        # One statement: what comes between two would be skipped.
        statement = sa.select(newest.scalar_subquery(), full.scalar_subquery())
        last, upto = self._connection.execute(statement).one()
        self._renew()
        return upto or last or self.revision, upto is not None

    def _read(self, feed: sa.Select[Any], upto: int) -> Sequence[Any]:
        rows = self._connection.execute(
            feed, {"after": self.revision, "upto": upto}
        ).all()
        self._renew()
        return rows

    def _renew(self) -> None:
        """Lets the next statement see what is committed then."""
        if self._connection.dialect.name == "sqlite":
            self._connection.rollback()


class Cursors(Part):
    """How far each reader of the feeds has come, and who holds its cursor."""

    def position(self, name: str) -> int:
        """Returns how far a reader has come."""
        at = sa.select(_c.revision).where(_c.name == name)
        return self._scalar(at) or 0

    def is_behind(self, name: str) -> bool:
        """Returns whether a reader has not come to the head yet."""
        with self._engine.connect() as connection:
            looked = connection.execute(_LOOK, {"reader": name})
            row: Any = head_row(looked)
        return row[1] is None or int(row[1]) < row[0]

    def advance(self, name: str, after: int, upto: int) -> None:
        """Moves a cursor that nobody holds, unless somebody else has."""
        there = sa.update(tables.cursors).where(_c.name == name)
        self._write(there.where(_c.revision == after).values(revision=upto))

    @contextmanager
    def reader(self, name: str) -> Iterator[Reader | None]:
        """Holds a cursor; None while another host or thread holds it.

        The row lock goes when the process or its connection dies, so that
        somebody else goes on at once. Where there are no row locks (SQLite)
        every reader has to be the only one of its name.
        """
        with self._engine.connect() as connection:
            held = self._hold(connection, name)
            if held is None:
                connection.rollback()  # no second session beside one
            if held is None and self._make(name):
                held = self._hold(connection, name)
            if held is None:
                yield None
                return
            yield Reader(connection, name, *held)
            connection.commit()

    def _hold(
        self, connection: Connection, name: str
    ) -> tuple[int, int] | None:
        """Locks a cursor: where it is, and where the head."""
        row = connection.execute(_HOLD, {"reader": name}).one_or_none()
        if self._engine.dialect.name == "sqlite":
            connection.rollback()  # a snapshot would hide what is new
        if row and row[1] is None:
            raise NoHead
        return (row[0], row[1]) if row else None

    @again
    def _make(self, name: str) -> bool:
        """Makes a cursor; False if there is one, so that somebody holds it."""
        # An INSERT would wait for whoever holds the row.
        if self._scalar(sa.select(_c.name).where(_c.name == name)):
            return False
        make = sa.insert(tables.cursors).values(name=name, revision=0)
        # If another host is faster, the row is there as well.
        with (
            suppress(sa.exc.IntegrityError),
            self._writing.begin() as connection,
        ):
            connection.execute(make)
        return True

    def drop_published(self) -> None:
        """Forgets which claims were made here, of those that are published.

        About `DROPPED` at most, the earliest first. The newest stays: MariaDB
        locks what comes behind the last row that it deletes, and would wait
        for whoever is recording.
        """
        own = tables.own_claims.c.revision
        upto = sa.select(_c.revision).where(_c.name == PUBLISHING)
        newest = sa.select(sa.func.max(own)).where(
            own <= upto.scalar_subquery()
        )
        oldest = sa.select(sa.func.min(own))
        # Behind the oldest revision, which goes whole, however large.
        behind = sa.select(own).where(own > oldest.scalar_subquery())
        many = behind.order_by(own).offset(DROPPED - 1).limit(1)
        some = (oldest, newest, many)
        with self._engine.connect() as connection:
            first, last, cut = connection.execute(
                sa.select(*(one.scalar_subquery() for one in some))
            ).one()
        stays = min(last or 0, cut or last or 0)
        if (first or 0) < stays:
            self._write(sa.delete(tables.own_claims).where(own < stays))

    def forget(self, name: str) -> None:
        """Lets whoever comes next under this name begin from nothing."""
        self._write(sa.delete(tables.cursors).where(_c.name == name))

    def rewind(self) -> None:
        """Lets every sink be gone through again from the beginning."""
        sinks = sa.update(tables.cursors).where(_c.name != PUBLISHING)
        self._write(sinks.values(revision=0))


def damaged_of(connection: Connection, rows: Iterable[Any]) -> set[str]:
    """Returns the images, of rows of `NUMBERED`, whose spelling is not theirs.

    Few have one. It is believed only with the hash of its claim.
    """
    spelled = [row.wish_image for row in rows if row.spelling]
    known = look_up(connection, spelled)
    return {i for i, one in known.items() if one.is_damaged}


def numbered_of(
    rows: Iterable[Any], damaged: Container[str]
) -> list[Numbered]:
    """Reads rows of `NUMBERED`, some of whose images' claims are damaged.

    :raises Contradicted: the claims say something else of some of them.
    """
    found, wrong = [], set()
    for row in rows:
        if row.wish_image in damaged or _contradicts(row):
            wrong.add(row.number)
        mapped = row.mapped == row.number
        found.append(
            Numbered(
                number=row.number,
                uuid=uuid_of(row, row.wish_image) if mapped else None,
                kind=kind_named(row.kind) if mapped else None,
                adopted=bool(row.wish_wanted),
                hearsay=not row.spelled,
            )
        )
    if wrong:
        raise Contradicted(frozenset(wrong))
    return found


def _contradicts(row: Any) -> bool:
    """Returns whether who sits there has no claim, or has another number.

    One who has got the number that he wanted has one more in reserve.
    """
    if row.wish_image is None or row.mapped == row.number:
        return False
    reserved = row.mapped == row.wanted and not row.wish_wanted
    return row.mapped is None or not reserved
