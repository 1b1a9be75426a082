"""All of a ledger at one moment, page by page, however long that takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.known import require_scheme
from ec2map_sync.ledger.rehearsal import Rehearsal
from ec2map_sync.rules.claims import EVERYTHING, Claim, Span
from ec2map_sync.rules.ec2id import Scheme

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
