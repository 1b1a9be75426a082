"""All of a ledger at one moment, page by page, however long that takes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import ranges, tables
from ec2map_sync.ledger.known import (
    Head,
    head_of,
    load_slots,
    require_scheme,
)
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

ClaimRow: TypeAlias = tuple[Any, ...]
"""Image, claimed_at, wanted_at, wanted, kind_at, kind, number, hash."""

_COLUMNS = [
    tables.claims.c[name]
    for name in (
        *("image", "claimed_at", "wanted_at", "wanted"),
        *("kind_at", "kind", "number", "hash"),
    )
]
_ORDER = (tables.claims.c.claimed_at, tables.claims.c.image)
_SEPARATOR = "\x1f"
_PACKED = sa.func.concat_ws(
    _SEPARATOR, *(sa.func.coalesce(one, "") for one in _COLUMNS)
).label("packed")
_TOGETHER = "some.packed ORDER BY some.claimed_at, some.image SEPARATOR '\n'"
_MOST_PACKED = 2**24
"""Bytes: more than the rows of a page have."""

PAGE = 5000
"""Claims read by one statement: one for all would be given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was committed when it was opened; nobody waits for it."""

    connection: Connection
    scheme: Scheme
    head: Head

    @property
    def count(self) -> int:
        """How many claims there are."""
        return self.head.total.count

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
        """Returns what was known before a stamp, in order, as lines."""
        start = BEGINNING
        while rows := self.rows(Span(start, Bound(until)), PAGE):
            yield self.lines(rows, until)
            start = after(rows[-1])

    def rows(self, span: Span, limit: int) -> Sequence[ClaimRow]:
        """Returns the first rows of a span, with what `lines` reads."""
        if self.connection.dialect.driver == "pymysql":
            return self._packed_rows(span, limit)
        rows = sa.select(*_COLUMNS).where(*ranges.within(span))
        found = self.connection.execute(rows.order_by(*_ORDER).limit(limit))
        return [tuple(row) for row in found]

    def _packed_rows(self, span: Span, limit: int) -> Sequence[ClaimRow]:
        """Reads them as one value.

        PyMySQL takes values apart in Python, one by one, which takes longer
        than all that is done with them.
        """
        rows = sa.select(_PACKED, *_ORDER).where(*ranges.within(span))
        some = rows.order_by(*_ORDER).limit(limit).subquery("some")
        together = sa.func.group_concat(sa.text(_TOGETHER))
        text = self.connection.scalar(sa.select(together).select_from(some))
        return [_unpacked(line) for line in text.split("\n")] if text else []

    def lines(self, rows: Iterable[ClaimRow], until: Stamp) -> Entries:
        """Returns what was known before a stamp of those claimed before.

        Of each image: its claim, without what has a later stamp; and the
        same with the number that it had by all wishes of before. As the
        earlier wish always wins, later ones have not changed that.
        """
        found = []
        for image, at, wanted_at, wanted, kind_at, kind, number, _ in rows:
            adopted = None if wanted_at is None else (wanted_at, wanted)
            if adopted and wanted_at >= until and number == wanted:
                number = self._derived(Wish(at, image))  # noqa: PLW2901
            seen = None if kind_at is None else (kind_at, kind)
            text = canonical.line(image, at, adopted, seen, until)
            found.append((text, canonical.entry(text, number)))
        return found

    def _derived(self, wish: Wish) -> int | None:
        load = partial(load_slots, self.connection)
        return Board(self.scheme, load).seat(wish)

    def rehearsal(self) -> Rehearsal:
        """Returns what tells what recording claims would do."""
        return Rehearsal(self.connection, self.scheme)


def _unpacked(text: str) -> ClaimRow:
    image, at, wanted_at, wanted, kind_at, kind, number, hash_ = text.split(
        _SEPARATOR
    )
    return (
        image,
        int(at),
        int(wanted_at) if wanted_at else None,
        int(wanted) if wanted else None,
        int(kind_at) if kind_at else None,
        kind or None,
        int(number) if number else None,
        int(hash_),
    )


def after(row: ClaimRow) -> Bound:
    """Returns where the claims begin that follow that of a row."""
    return Claim(claimed_at=row[1], image=row[0]).after


@contextmanager
def snapshot(engine: Engine, scheme: Scheme) -> Iterator[Snapshot]:
    """Opens a snapshot.

    :raises SchemeMismatch: the ledger was filled under another scheme.
    """
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":  # there, each transaction is one
            level = "REPEATABLE READ"
            connection.execution_options(isolation_level=level)
        if engine.dialect.driver == "pymysql":
            most = f"SET SESSION group_concat_max_len = {_MOST_PACKED}"
            connection.exec_driver_sql(most)
        row = connection.execute(sa.select(tables.head)).one()
        require_scheme(row.scheme, scheme)
        yield Snapshot(connection=connection, scheme=scheme, head=head_of(row))
