"""All of a ledger at one moment, page by page, however long that takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.known import load_slots, require_scheme
from ec2map_sync.ledger.rehearsal import Rehearsal
from ec2map_sync.protocol import canonical
from ec2map_sync.rules.claims import (
    BEGINNING,
    EVERYTHING,
    Bound,
    Claim,
    Span,
    Stamp,
)
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.settle import Board, Wish

Entries = list[tuple[str, str]]
"""Lines of claims, and the same with numbers."""

PAGE = 5000
"""Claims read by one statement: one for all would be given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was committed when it was opened; nobody waits for it."""

    connection: Connection
    scheme: Scheme
    count: int
    """How many claims there are."""

    def pages(self, span: Span = EVERYTHING) -> Iterator[list[Claim]]:
        """Returns the claims of a span, in order."""
        start, stop = span
        while page := ranges.page(self.connection, Span(start, stop), PAGE):
            yield page
            start = page[-1].after

    def counted(self, span: Span) -> int:
        """Returns how many claims a span has."""
        rows = sa.select(sa.func.count()).select_from(tables.claims)
        counted = self.connection.scalar(rows.where(*ranges.within(span)))
        return int(counted or 0)

    def entries(self, until: Stamp) -> Iterator[Entries]:
        """Returns what was known before a stamp, in order, as lines.

        Of each image that was claimed before: its claim, without what has
        a later stamp; and the same with the number that it had by all
        wishes of before. As the earlier wish always wins, later ones have
        not changed that.
        """
        c, start = tables.claims.c, BEGINNING
        columns = sa.select(
            *(c.image, c.claimed_at, c.wanted_at, c.wanted),
            *(c.kind_at, c.kind, c.number),
        )
        ordered = columns.order_by(c.claimed_at, c.image).limit(PAGE)
        while rows := self.connection.execute(
            ordered.where(*ranges.within(Span(start, Bound(until))))
        ).all():
            yield [self._entry(row, until) for row in rows]
            start = Claim(claimed_at=rows[-1][1], image=rows[-1][0]).after

    def _entry(self, row: Any, until: Stamp) -> tuple[str, str]:
        image, at, wanted_at, wanted, kind_at, kind, number = row
        adopted = None if wanted_at is None else (wanted_at, wanted)
        if adopted and wanted_at >= until and number == wanted:
            number = self._derived(Wish(at, image))
        seen = None if kind_at is None else (kind_at, kind)
        text = canonical.line(image, at, adopted, seen, until)
        return text, canonical.entry(text, number)

    def _derived(self, wish: Wish) -> int | None:
        load = partial(load_slots, self.connection)
        return Board(self.scheme, load).seat(wish)

    def rehearsal(self) -> Rehearsal:
        """Returns what tells what recording claims would do."""
        return Rehearsal(self.connection, self.scheme)


@contextmanager
def snapshot(engine: Engine, scheme: Scheme) -> Iterator[Snapshot]:
    """Opens a snapshot.

    :raises SchemeMismatch: the ledger was filled under another scheme.
    """
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":  # there, each transaction is one
            level = "REPEATABLE READ"
            connection.execution_options(isolation_level=level)
        row = connection.execute(sa.select(tables.head)).one()
        require_scheme(row.scheme, scheme)
        yield Snapshot(
            connection=connection, scheme=scheme, count=row.total_count
        )
