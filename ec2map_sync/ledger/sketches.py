"""Sketches of the set, reckoned by the database, and what they lead to."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.known import intact
from ec2map_sync.ledger.ranges import within
from ec2map_sync.rules.claims import Claim, Span
from ec2map_sync.rules.sketches import (
    EMPTY,
    PRIME,
    TABLES,
    Bucket,
    Shape,
    Sketch,
)
from ec2map_sync.sql.statements import select_in


def sketch_of(
    connection: Connection, spans: Sequence[Span], shape: Shape
) -> Sketch:
    """Returns the sketch of the claims in some spans.

    One statement, so that all tables are of one moment; each is one scan of
    the covering index.
    """
    buckets = [EMPTY] * shape.buckets
    parts = (_table(spans, shape, table) for table in range(TABLES))
    for table, place, *sums in connection.execute(sa.union_all(*parts)):
        found = Bucket(*map(int, sums))
        buckets[table * shape.size + int(place)] = EMPTY.plus(found)
    return Sketch(shape=shape, buckets=tuple(buckets))


def _table(spans: Sequence[Span], shape: Shape, table: int) -> sa.Select[Any]:
    hash_ = tables.claims.c.hash
    other, key = _number(shape.keys[table - 1]), _number(shape.keys[table])
    rest = (hash_ + other) % key
    found = (
        sa.select(hash_, (rest * rest % _number(PRIME)).label("square"))
        .where(_anywhere(spans))
        .subquery()
    )
    place = found.c.square % _number(shape.size)
    return sa.select(
        _number(table),
        place,
        sa.func.count(),
        sa.func.sum(found.c.hash),
        sa.func.sum(found.c.square),
    ).group_by(place)


def hashed(
    connection: Connection, spans: Sequence[Span], hashes: Iterable[int]
) -> list[Claim]:
    """Returns the claims in some spans that have one of the hashes.

    Those that were changed by hand are left out, as ever.
    """
    c = tables.claims.c
    images = sa.select(c.image).where(_anywhere(spans))
    found = [
        row.image for row in select_in(connection, images, c.hash, hashes)
    ]
    rows = select_in(connection, sa.select(tables.claims), c.image, found)
    return sorted(intact(rows), key=lambda claim: claim.bound)


def _anywhere(spans: Sequence[Span]) -> sa.ColumnElement[bool]:
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].stop:
            last = joined.pop()
            joined.append(Span(last.start, max(last.stop, span.stop)))
        else:
            joined.append(span)
    return sa.or_(sa.false(), *(sa.and_(*within(s)) for s in joined))


def _number(value: int) -> sa.ColumnElement[int]:
    # In the statement itself: PostgreSQL groups by what reads the same.
    return sa.literal_column(str(value), sa.BigInteger)
