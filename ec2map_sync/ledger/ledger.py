"""The ledger's public face: record, look up, read the feeds."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.claims import (
    BEGINNING,
    SUM_MODULUS,
    Bound,
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
from ec2map_sync.ledger import tables
from ec2map_sync.ledger.recording import (
    Recording,
    claim_of_row,
    select_in,
)
from ec2map_sync.settle import Numbered

T = TypeVar("T")

_SPLIT_BITS = 5

QUARANTINE_LIMIT = 10_000
"""Entries kept; the oldest go first."""

QUARANTINE_BODY = 65_536
"""Bytes kept of a body."""


def wall_clock() -> Stamp:
    """Give the time in microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far a ledger has come."""

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


NOTHING = Recorded(revision=None, news=0, moved=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """What a peer last said, and what comparing with it has found.

    A field that is None is not known (yet). All but the counts are stamps.
    """

    name: str
    received_at: Stamp | None = None
    sent_at: Stamp | None = None
    total: int | None = None
    newest: Stamp | None = None
    agrees_until: Stamp | None = None
    """Everything claimed before this was the same here and there."""
    differs_since: Stamp | None = None
    compared_at: Stamp | None = None
    """When a comparison of everything was last completed."""
    missing_here: int | None = None
    missing_there: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Something that could not be understood or trusted."""

    source: str
    reason: str
    body: bytes


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
        c = tables.claims
        return self._ledger.feed(
            c.c.own_revision, sa.select(c), self.revision, limit, claim_of_row
        )

    def numbers(self, limit: int) -> tuple[list[int], int]:
        """Give about ``limit`` numbers changed since, and up to when."""
        n = tables.numbers
        return self._ledger.feed(
            n.c.revision,
            sa.select(n.c.number),
            self.revision,
            limit,
            lambda row: int(row.number),
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

    def note_peer(self, peer: str, **fields: int | None) -> None:
        """Remember some fields of a peer's `PeerState`.

        Later stamps follow a peer's newest, so that a new claim never comes
        before one that is still on its way to us.
        """
        head, peers = tables.head, tables.peers
        with self._writing.begin() as connection:
            newest = fields.get("newest") or 0
            connection.execute(
                sa.update(head)
                .where(head.c.last_stamp < newest)
                .values(last_stamp=newest)
            )
            known = connection.execute(
                sa.update(peers).where(peers.c.name == peer).values(**fields)
            )
            if not known.rowcount:
                connection.execute(
                    sa.insert(peers).values(name=peer, **fields)
                )

    def peer_states(self) -> dict[str, PeerState]:
        """Give what is known of every peer that was ever heard."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(tables.peers)).mappings()
            return {row["name"]: PeerState(**row) for row in rows}

    def quarantine(self, entries: Sequence[Quarantined]) -> None:
        """Keep what could not be understood, the newest ones."""
        if not entries:
            return
        q = tables.quarantine
        with self._writing.begin() as connection:
            connection.execute(
                sa.insert(q),
                [
                    {
                        "at": self._clock(),
                        "source": entry.source[:120],
                        "reason": entry.reason[:500],
                        "body": entry.body[:QUARANTINE_BODY],
                    }
                    for entry in entries
                ],
            )
            newest = connection.scalar(sa.select(sa.func.max(q.c.id))) or 0
            connection.execute(
                sa.delete(q).where(q.c.id <= newest - QUARANTINE_LIMIT)
            )

    def head(self) -> Head:
        """Tell how far the ledger has come."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(tables.head)).one()
        return Head(
            revision=row.revision,
            last_stamp=row.last_stamp,
            total=Print(row.total_count, row.total_sum),
        )

    def print_before(self, until: Stamp) -> tuple[Head, Print]:
        """Give the head, and the print of the claims made before a stamp.

        The running total less the tail: what it costs does not grow with
        the number of claims.
        """
        c, head = tables.claims, tables.head
        tail = (
            sa.select(
                sa.func.count().label("tail_count"),
                sa.func.coalesce(sa.func.sum(c.c.hash), 0).label("tail_sum"),
            )
            .where(c.c.claimed_at >= until)
            .subquery()
        )
        with self._engine.connect() as connection:
            # One statement, so that both are of one moment.
            both = head.join(tail, sa.true())
            row = connection.execute(
                sa.select(head, tail).select_from(both)
            ).one()
        total = Print(row.total_count, row.total_sum)
        found = Head(
            revision=row.revision, last_stamp=row.last_stamp, total=total
        )
        return found, total - Print(int(row.tail_count), int(row.tail_sum))

    def print_of(self, span: Span) -> Print:
        """Give the print of a span."""
        if span.start == BEGINNING and not span.stop.image:
            return self.print_before(span.stop.at)[1]
        c = tables.claims
        statement = sa.select(
            sa.func.count(), sa.func.coalesce(sa.func.sum(c.c.hash), 0)
        ).where(*_within(span))
        with self._engine.connect() as connection:
            count, total = connection.execute(statement).one()
        return Print(int(count), int(total) % SUM_MODULUS)

    def split(self, span: Span) -> list[Range]:
        """Cut a span into up to 32 parts; leaves out those without claims.

        The cuts lie at multiples of a power of two of the stamp, so that
        one scan of the index counts all parts. A span whose claims have all
        the same stamp cannot be cut.
        """
        c = tables.claims
        ends = sa.select(
            sa.func.min(c.c.claimed_at), sa.func.max(c.c.claimed_at)
        ).where(*_within(span))
        with self._engine.connect() as connection:
            low, high = connection.execute(ends).one()
            if low is None:
                return []
            shift = max(0, (low ^ high).bit_length() - _SPLIT_BITS)
            part = c.c.claimed_at.bitwise_rshift(sa.literal(shift))
            rows = connection.execute(
                sa.select(part, sa.func.count(), sa.func.sum(c.c.hash))
                .where(*_within(span))
                .group_by(part)
                .order_by(part)
            )
            return [
                Range(
                    span=Span(
                        max(Bound(int(part) << shift), span.start),
                        min(Bound((int(part) + 1) << shift), span.stop),
                    ),
                    print=Print(int(count), int(total) % SUM_MODULUS),
                )
                for part, count, total in rows
            ]

    def page(self, span: Span, limit: int) -> list[Claim]:
        """Give the first claims of a span, in order."""
        c = tables.claims
        statement = (
            sa.select(c)
            .where(*_within(span))
            .order_by(c.c.claimed_at, c.c.image)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [claim_of_row(row) for row in connection.execute(statement)]

    def claims(self, images: Iterable[str]) -> dict[str, Claim]:
        """Look claims up by image."""
        c = tables.claims
        with self._engine.connect() as connection:
            rows = select_in(connection, sa.select(c), c.c.image, images)
            return {row.image: claim_of_row(row) for row in rows}

    def numbered(self, numbers: Iterable[int]) -> dict[int, Numbered]:
        """Tell what a sink should hold under each of some numbers."""
        n, c = tables.numbers, tables.claims
        statement = sa.select(
            n.c.number, c.c.image, c.c.spelling, c.c.kind
        ).outerjoin(
            c,
            sa.and_(c.c.image == n.c.wish_image, c.c.number == n.c.number),
        )
        with self._engine.connect() as connection:
            return {
                row.number: Numbered(
                    number=row.number,
                    uuid=row.spelling or row.image,
                    kind=Kind(row.kind) if row.kind else None,
                )
                for row in select_in(
                    connection, statement, n.c.number, numbers
                )
            }

    @contextmanager
    def reader(self, name: str) -> Iterator[Reader | None]:
        """Hold a cursor; None while another host or thread holds it.

        The row lock goes when the process or its connection dies, so that
        somebody else goes on at once. Where there are no row locks (SQLite)
        every reader has to be the only one of its name.
        """
        self._ensure_cursor(name)
        cursors = tables.cursors
        statement = sa.select(cursors.c.revision).where(cursors.c.name == name)
        if self._engine.dialect.name != "sqlite":
            statement = statement.with_for_update(skip_locked=True)
        with self._engine.connect() as connection:
            revision = connection.scalar(statement)
            if self._engine.dialect.name == "sqlite":
                connection.rollback()  # a snapshot would hide what is new
            if revision is None:
                yield None
                return
            yield Reader(self, connection, name, revision)
            connection.commit()

    def feed(
        self,
        revision: sa.Column[Any],
        statement: sa.Select[Any],
        after: int,
        limit: int,
        read: Callable[[sa.Row[Any]], T],
    ) -> tuple[list[T], int]:
        """Read whole revisions of a feed, about ``limit`` rows of them."""
        upto = (
            sa.select(revision)
            .where(revision > after)
            .order_by(revision)
            .offset(limit - 1)
            .limit(1)
        )
        head = sa.select(tables.head.c.revision)
        with self._engine.connect() as connection:
            last = connection.scalar(head)
            last = connection.scalar(upto) or last or after
            rows = connection.execute(
                statement.where(revision > after, revision <= last)
            )
            return [read(row) for row in rows], last

    def _ensure_cursor(self, name: str) -> None:
        cursors = tables.cursors
        there = sa.select(cursors.c.revision).where(cursors.c.name == name)
        with self._engine.connect() as connection:
            if connection.scalar(there) is not None:
                return
        with self._writing.begin() as connection:
            try:
                connection.execute(
                    sa.insert(cursors).values(name=name, revision=0)
                )
            except sa.exc.IntegrityError:
                connection.rollback()  # another host was faster

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


def _within(span: Span) -> list[sa.ColumnElement[bool]]:
    """Give the conditions of a span, in a form that an index serves."""
    at, image = tables.claims.c.claimed_at, tables.claims.c.image
    start, stop = span
    conditions = [at >= start.at]
    if start.image:
        conditions.append(
            sa.not_(sa.and_(at == start.at, image < start.image))
        )
    if stop.image:
        conditions.append(at <= stop.at)
        conditions.append(sa.not_(sa.and_(at == stop.at, image >= stop.image)))
    else:
        conditions.append(at < stop.at)
    return conditions
