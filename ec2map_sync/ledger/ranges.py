"""Prints, parts and pages of the set, by ranges of the covering index."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.known import head_row, intact
from ec2map_sync.rules.claims import (
    BEGINNING,
    END,
    EVERYTHING,
    SUM_MODULUS,
    Bound,
    Claim,
    Print,
    Range,
    Span,
    Stamp,
)
from ec2map_sync.sql.images import below
from ec2map_sync.sql.statements import batched

_ORDER = (tables.claims.c.claimed_at, tables.claims.c.image)
_SPLIT_BITS = 5

# What a peer is told, and no more: each value of a page is read in Python.
_TOLD = sa.select(
    *(
        column
        for column in tables.claims.c
        if column.name not in {"own_revision", "number", "spelled"}
    )
)

COUNTABLE = 10_000
"""Claims up to which a count is cut short; that of more is faster whole."""

TOGETHER = 64
"""Spans summed up in one statement; SQLite takes 500 at most."""


def _before() -> sa.Select[Any]:
    c, head = tables.claims, tables.head
    tail = (
        sa.select(
            sa.func.count().label("tail_count"),
            sa.func.coalesce(sa.func.sum(c.c.hash), 0).label("tail_sum"),
        )
        .where(c.c.claimed_at >= sa.bindparam("until"))
        .subquery()
    )
    return sa.select(head, tail).select_from(head.join(tail, sa.true()))


# Made once: every heartbeat and every question needs it.
_BEFORE = _before()


def print_before(
    connection: Connection, until: Stamp
) -> tuple[sa.Row[Any], Print]:
    """Returns the head row, and the print of the claims made before a stamp.

    The running total less the tail: what it costs does not grow with the
    number of claims. One statement, so that both are of one moment.
    """
    row = head_row(connection.execute(_BEFORE, {"until": until}))
    total = Print(row.total_count, row.total_sum)
    return row, total - Print(int(row.tail_count), int(row.tail_sum))


def counted(
    connection: Connection, until: Stamp = END.at
) -> tuple[Print, Print]:
    """Returns the prints of all claims, and of those before a stamp.

    Counted in one statement, by no running total.
    """
    before = Span(BEGINNING, Bound(until))
    total, some = _sums(connection, [(EVERYTHING, None), (before, None)])
    return total, some


def prints_of(
    connection: Connection, spans: Sequence[Span], most: Sequence[int] = ()
) -> list[Print]:
    """Returns the print of each span, of many in one statement.

    Where a span has more claims than its ``most``, that of so many.
    """
    found = {
        span: print_before(connection, span.stop.at)[1]
        for span in spans
        if span.start == BEGINNING and not span.stop.image
    }
    limits = dict(zip(spans, most, strict=True)) if most else {}
    rest = [span for span in spans if span not in found]
    for some in batched(rest, TOGETHER):
        sums = _sums(connection, [(s, limits.get(s)) for s in some])
        found |= zip(some, sums, strict=True)
    return [found[span] for span in spans]


def _sums(
    connection: Connection, spans: Sequence[tuple[Span, int | None]]
) -> Iterator[Print]:
    parts = sa.union_all(
        *(_sum(place, *one) for place, one in enumerate(spans))
    )
    # Compounds come back in any order.
    for _, count, total in sorted(connection.execute(parts)):
        yield Print(int(count), int(total) % SUM_MODULUS)


def _sum(place: int, span: Span, most: int | None) -> sa.Select[Any]:
    """Sums up a span; no further than needed, where that is not far."""
    hashes = sa.select(tables.claims.c.hash).where(*within(span))
    if most is not None and most <= COUNTABLE:
        hashes = hashes.limit(most)
    found = hashes.subquery()
    return sa.select(
        sa.literal_column(str(place)),
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(found.c.hash), 0),
    )


def split(connection: Connection, span: Span) -> list[Range]:
    """Cuts a span into up to 32 parts; leaves out those without claims.

    The cuts lie at multiples of a power of two of the stamp, so that one
    scan of the index counts all parts.
    """
    c = tables.claims
    low, high = connection.execute(
        sa.select(
            sa.func.min(c.c.claimed_at), sa.func.max(c.c.claimed_at)
        ).where(*within(span))
    ).one()
    if low is None:
        return []
    shift = max(0, (low ^ high).bit_length() - _SPLIT_BITS)
    part = c.c.claimed_at.bitwise_rshift(sa.literal(shift))
    rows = connection.execute(
        sa.select(part, sa.func.count(), sa.func.sum(c.c.hash))
        .where(*within(span))
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


def cuts(connection: Connection, size: int) -> Iterator[Span]:
    """Cuts the set into spans of so many claims each."""
    start = BEGINNING
    while start != END:
        rows = sa.select(*_ORDER).where(*within(Span(start, END)))
        found = rows.order_by(*_ORDER).offset(size).limit(1)
        row = connection.execute(found).one_or_none()
        stop = Bound(*row) if row else END
        yield Span(start, stop)
        start = stop


def page(connection: Connection, span: Span, limit: int) -> list[Claim]:
    """Returns the first claims of a span, in order.

    Those that were changed by hand are left out: nobody is told them.
    """
    found: list[Claim] = []
    while len(found) < limit:
        rows = connection.execute(
            _TOLD.where(*within(span))
            .order_by(*_ORDER)
            .limit(limit - len(found))
        ).all()
        there = list(intact(rows))
        found += there
        if len(there) == len(rows):
            break
        last = rows[-1]
        # No image sorts between a UUID and the same with one more digit.
        span = Span(Bound(last.claimed_at, last.image + "0"), span.stop)
    return found


def within(span: Span) -> list[sa.ColumnElement[bool]]:
    """Returns the conditions of a span, in a form that an index serves."""
    at, image = tables.claims.c.claimed_at, tables.claims.c.image
    start, stop = span
    conditions = [at >= start.at]
    if start.image:
        conditions.append(
            sa.not_(sa.and_(at == start.at, below(image, start.image)))
        )
    if stop.image:
        conditions.append(at <= stop.at)
        conditions.append(
            sa.not_(sa.and_(at == stop.at, ~below(image, stop.image)))
        )
    else:
        conditions.append(at < stop.at)
    return conditions
