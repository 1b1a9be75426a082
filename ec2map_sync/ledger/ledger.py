"""The ledger's public face: record, look up, read the feeds."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.claims import (
    Claim,
    Print,
    Range,
    Sighting,
    Span,
    Stamp,
    claim_of,
    join,
    join_all,
)
from ec2map_sync.database import WRITE
from ec2map_sync.ec2id import Kind, Scheme
from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.divergences import Divergences
from ec2map_sync.ledger.journal import Journal
from ec2map_sync.ledger.queries import Queries
from ec2map_sync.ledger.recording import Recording, claim_of_row
from ec2map_sync.settle import Numbered
from ec2map_sync.statements import select_in


def wall_clock() -> Stamp:
    """Give the time in microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far a ledger has come."""

    identity: str
    """Made with the ledger; a restored one keeps it."""
    revision: int
    last_stamp: Stamp
    total: Print


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a batch has changed."""

    revision: int | None
    """The revision it got; None if nothing was news."""
    news: int
    moved: int


PUBLISHER = "publisher"
"""The one reader that is not named after a sink."""

NOTHING = Recorded(revision=None, news=0, moved=0)


class Reader:
    """A cursor over the feeds, held by one reader at a time."""

    def __init__(
        self, ledger: "Ledger", connection: Connection, name: str, at: int
    ) -> None:
        self._ledger = ledger
        self._connection = connection
        self._name = name
        self.revision = at

    def own_claims(self, limit: int) -> tuple[list[Claim], int]:
        """Give about ``limit`` claims made here since, and up to when."""
        return self._ledger.own_claims(self.revision, limit)

    def numbers(self, limit: int) -> tuple[int, bool]:
        """Tell until when about ``limit`` numbers have changed since.

        And whether there may be more. `Ledger.changed` gives them.
        """
        return self._ledger.until(
            tables.numbers.c.revision, self.revision, limit
        )

    def advance(self, revision: int) -> None:
        """Remember that everything up to a revision has taken effect."""
        cursors = tables.cursors
        self._connection.execute(
            sa.update(cursors)
            .where(cursors.c.name == self._name)
            .values(revision=revision)
        )
        self.revision = revision


class Ledger:
    """A region's set of claims, the mapping settled from it, its readers.

    Every method is one short transaction. Errors of the database come out
    as SQLAlchemy's; nothing is half done then, and calling again is safe.
    """

    def __init__(
        self,
        engine: Engine,
        scheme: Scheme,
        clock: Callable[[], Stamp] = wall_clock,
    ) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**WRITE)
        self._clock = clock
        self.scheme = scheme
        self.queries = Queries(engine)
        """What operators ask: reads only."""
        self.journal = Journal(engine, clock)
        """What else is remembered: peers, services, quarantine."""
        self.divergences = Divergences(engine, clock)
        """What the sinks hold that is not as settled."""

    def see(self, sightings: Sequence[Sighting]) -> Recorded:
        """Claim what this region has seen, where that is news."""
        if not self._news(sightings):
            return NOTHING
        with self._recording() as recording:
            recording.look_up(s.image for s in sightings)
            claims: dict[str, Claim] = {}
            for sighting in sightings:
                image = sighting.image
                known = claims.get(image) or recording.claim(image)
                claim = claim_of(sighting, known, recording.next_stamp())
                if claim:
                    claims[image] = join(known, claim) if known else claim
            return self._record(recording, claims.values(), own=True)

    def record(self, claims: Iterable[Claim]) -> Recorded:
        """Join claims that other regions have made."""
        joined = join_all(claims)
        if not joined:
            return NOTHING
        with self._recording() as recording:
            recording.look_up(joined)
            for claim in joined.values():
                recording.follow(claim.newest)
            return self._record(recording, joined.values(), own=False)

    def head(self) -> Head:
        """Tell how far the ledger has come."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(tables.head)).one()
        return _head_of(row)

    def print_before(self, until: Stamp) -> tuple[Head, Print]:
        """Give the head, and the print of the claims made before a stamp."""
        with self._engine.connect() as connection:
            row, before = ranges.print_before(connection, until)
        return _head_of(row), before

    def print_of(self, span: Span) -> Print:
        """Give the print of a span."""
        with self._engine.connect() as connection:
            return ranges.print_of(connection, span)

    def split(self, span: Span) -> list[Range]:
        """Cut a span into up to 32 parts; leaves out those without claims.

        A span whose claims have all the same stamp cannot be cut.
        """
        with self._engine.connect() as connection:
            return ranges.split(connection, span)

    def page(self, span: Span, limit: int) -> list[Claim]:
        """Give the first claims of a span, in order."""
        with self._engine.connect() as connection:
            return ranges.page(connection, span, limit)

    def claims(self, images: Iterable[str]) -> dict[str, Claim]:
        """Look claims up by image."""
        c = tables.claims
        with self._engine.connect() as connection:
            rows = select_in(connection, sa.select(c), c.c.image, images)
            return {row.image: claim_of_row(row) for row in rows}

    def numbered(self, numbers: Iterable[int]) -> dict[int, Numbered]:
        """Tell what a sink should hold under each of some numbers."""
        with self._engine.connect() as connection:
            rows = select_in(
                connection, _NUMBERED, tables.numbers.c.number, numbers
            )
            return {row[0]: _numbered_of(row) for row in rows}

    def changed(self, after: int, upto: int) -> list[Numbered]:
        """Tell what a sink should hold under the numbers of a feed's part.

        Those whose last change is a revision above ``after``, up to ``upto``.
        """
        revision = tables.numbers.c.revision
        statement = _NUMBERED.where(revision > after, revision <= upto)
        with self._engine.connect() as connection:
            return [_numbered_of(row) for row in connection.execute(statement)]

    def numbers_of(self, images: Iterable[str]) -> dict[str, int]:
        """Give the numbers of those images that have one."""
        c = tables.claims
        statement = sa.select(c.c.image, c.c.number).where(
            c.c.number.is_not(None)
        )
        with self._engine.connect() as connection:
            rows = select_in(connection, statement, c.c.image, images)
            return {row.image: row.number for row in rows}

    def position(self, name: str) -> int:
        """Tell how far a reader has come."""
        cursors = tables.cursors
        statement = sa.select(cursors.c.revision).where(cursors.c.name == name)
        with self._engine.connect() as connection:
            return connection.scalar(statement) or 0

    def held_between(self, after: int, upto: int, revision: int) -> list[int]:
        """Give the numbers above ``after``, up to ``upto``, of any image.

        Only those that were the same already at a revision.
        """
        n, c = tables.numbers, tables.claims
        statement = (
            sa.select(n.c.number)
            .join(
                c,
                sa.and_(c.c.image == n.c.wish_image, c.c.number == n.c.number),
            )
            .where(
                n.c.number > after,
                n.c.number <= upto,
                n.c.revision <= revision,
            )
        )
        with self._engine.connect() as connection:
            return list(connection.scalars(statement))

    @contextmanager
    def reader(self, name: str) -> Iterator[Reader | None]:
        """Hold a cursor; None while another host or thread holds it.

        The row lock goes when the process or its connection dies, so that
        somebody else goes on at once. Where there are no row locks (SQLite)
        every reader has to be the only one of its name.
        """
        with self._engine.connect() as connection:
            revision = self._hold(connection, name)
            if revision is None and self._make_cursor(name):
                revision = self._hold(connection, name)
            if revision is None:
                yield None
                return
            yield Reader(self, connection, name, revision)
            connection.commit()

    def _hold(self, connection: Connection, name: str) -> int | None:
        cursors = tables.cursors
        statement = sa.select(cursors.c.revision).where(cursors.c.name == name)
        if self._engine.dialect.name == "sqlite":
            revision = connection.scalar(statement)
            connection.rollback()  # a snapshot would hide what is new
        else:
            revision = connection.scalar(
                statement.with_for_update(skip_locked=True)
            )
        return revision

    def _make_cursor(self, name: str) -> bool:
        """Make a cursor; False if there is one, so that somebody holds it."""
        cursors = tables.cursors
        there = sa.select(cursors.c.name).where(cursors.c.name == name)
        with self._engine.connect() as connection:
            # An INSERT would wait for whoever holds the row.
            if connection.scalar(there):
                return False
        make = sa.insert(cursors).values(name=name, revision=0)
        # If another host is faster, the row is there as well.
        with (
            suppress(sa.exc.IntegrityError),
            self._writing.begin() as connection,
        ):
            connection.execute(make)
        return True

    def forget_reader(self, name: str) -> None:
        """Let whoever comes next under this name begin from nothing."""
        cursors = tables.cursors
        with self._writing.begin() as connection:
            connection.execute(
                sa.delete(cursors).where(cursors.c.name == name)
            )

    def rewind(self) -> None:
        """Let every sink be gone through again from the beginning."""
        cursors = tables.cursors
        with self._writing.begin() as connection:
            connection.execute(
                sa.update(cursors)
                .where(cursors.c.name != PUBLISHER)
                .values(revision=0)
            )

    def own_claims(self, after: int, limit: int) -> tuple[list[Claim], int]:
        """Give about ``limit`` claims made here since a revision.

        Whole revisions of them; and up to which one.
        """
        c = tables.claims
        revision = c.c.own_revision
        upto, _ = self.until(revision, after, limit)
        statement = sa.select(c).where(revision > after, revision <= upto)
        with self._engine.connect() as connection:
            rows = connection.execute(statement)
            return [claim_of_row(row) for row in rows], upto

    def until(
        self, revision: sa.Column[Any], after: int, limit: int
    ) -> tuple[int, bool]:
        """Tell up to which revision about ``limit`` rows of a feed lie.

        Where there are not as many, that is the newest one; and False, for
        there are no more.
        """
        full = (
            sa.select(revision)
            .where(revision > after)
            .order_by(revision)
            .offset(limit - 1)
            .limit(1)
        )
        head = sa.select(tables.head.c.revision)
        with self._engine.connect() as connection:
            # In this order: what comes between the two is not skipped.
            newest = connection.scalar(head)
            upto = connection.scalar(full)
            return upto or newest or after, upto is not None

    def _news(self, sightings: Sequence[Sighting]) -> bool:
        """Tell, without the lock, whether a batch can have any news."""
        known = self.claims({s.image for s in sightings})
        return any(
            claim_of(s, known.get(s.image), self._clock()) for s in sightings
        )

    @contextmanager
    def _recording(self) -> Iterator[Recording]:
        with self._writing.connect() as connection:
            yield Recording(connection, self.scheme, self._clock)

    def _record(
        self, recording: Recording, claims: Iterable[Claim], *, own: bool
    ) -> Recorded:
        """Join, and commit if anything was news.

        What brings nothing leaves no revision: they are without gaps.
        """
        news = recording.join(claims, own=own)
        if not news:
            return NOTHING
        recording.commit()
        return Recorded(
            revision=recording.revision,
            news=len(news),
            moved=len(recording.moved),
        )


_NUMBERED = sa.select(
    tables.numbers.c.number,
    tables.claims.c.image,
    tables.claims.c.spelling,
    tables.claims.c.kind,
    tables.numbers.c.wish_wanted,
).outerjoin(
    tables.claims,
    sa.and_(
        tables.claims.c.image == tables.numbers.c.wish_image,
        tables.claims.c.number == tables.numbers.c.number,
    ),
)


def _numbered_of(row: Any) -> Numbered:
    number, image, spelling, kind, wanted = row
    return Numbered(
        number=number,
        uuid=spelling or image,
        kind=Kind(kind) if kind else None,
        adopted=bool(wanted),
    )


def _head_of(row: sa.Row[Any]) -> Head:
    return Head(
        identity=row.identity,
        revision=row.revision,
        last_stamp=row.last_stamp,
        total=Print(row.total_count, row.total_sum),
    )
