"""Looking into sinks without their lock: what a sink holds, and guests see."""

from collections.abc import Iterable
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.ec2id import Kind, format_id, parse_id
from ec2map_sync.sinks.ec2api import Ec2ApiSink, item_of, items
from ec2map_sync.sinks.nova import s3_images
from ec2map_sync.statements import select_in

Row = tuple[int, str]
"""A number and the UUID under it."""


class Window(Protocol):
    """A view into one sink that holds nobody up."""

    name: str

    lowest: bool
    """Whether a guest sees the lowest of an image's numbers, rather than
    that of the row that was inserted first."""

    our_band: bool
    """Whether nobody else has rows under derived numbers."""

    needs_kind: bool
    """Whether nothing is written before an image's kind is known."""

    def rows(self, numbers: Iterable[int]) -> dict[int, str]:
        """Read rows by primary key: number -> UUID."""

    def page(self, start: int, stop: int, limit: int) -> list[Row]:
        """Read the first rows of a range, by primary key."""

    def numbers_of(self, uuid: str) -> list[int]:
        """Find every row of an image; reads the whole table."""


class NovaWindow:
    """A view into a cell's s3_images."""

    our_band = True
    needs_kind = False

    def __init__(self, cell: str, engine: Engine) -> None:
        self.name = f"nova:{cell}"
        self.lowest = engine.dialect.name != "postgresql"
        self._engine = engine

    def rows(self, numbers: Iterable[int]) -> dict[int, str]:
        """Read rows by primary key."""
        with self._engine.connect() as connection:
            rows = select_in(connection, _ROWS, s3_images.c.id, numbers)
            return dict(map(tuple, rows))

    def page(self, start: int, stop: int, limit: int) -> list[Row]:
        """Read the first rows of a range."""
        statement = (
            _ROWS.where(s3_images.c.id >= start, s3_images.c.id < stop)
            .order_by(s3_images.c.id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [(i, uuid) for i, uuid in connection.execute(statement)]

    def numbers_of(self, uuid: str) -> list[int]:
        """Find every row of an image: Nova has no index on uuid."""
        statement = _ROWS.where(s3_images.c.uuid == uuid)
        with self._engine.connect() as connection:
            return sorted(i for i, _ in connection.execute(statement))


class Ec2ApiWindow:
    """A view into ec2-api's items.

    ec2-api draws its own ids at random, also from our band.
    """

    name = Ec2ApiSink.name
    lowest = True
    our_band = False
    needs_kind = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sink = Ec2ApiSink(engine)

    def rows(self, numbers: Iterable[int]) -> dict[int, str]:
        """Read rows by primary key, whatever their kind."""
        ids = [format_id(number, kind) for number in numbers for kind in Kind]
        with self._engine.connect() as connection:
            rows = select_in(connection, _ITEMS, items.c.id, ids)
            return {parse_id(i)[1]: uuid or "" for i, uuid in rows}

    def page(self, start: int, stop: int, limit: int) -> list[Row]:
        """Read the first rows of a range."""
        return [
            (row.number, row.uuid)
            for row in self._sink.scan(start - 1, limit)
            if row.number < stop
        ]

    def numbers_of(self, uuid: str) -> list[int]:
        """Find the row of an image: os_id is unique."""
        statement = _ITEMS.where(items.c.os_id.in_([uuid, uuid.lower()]))
        with self._engine.connect() as connection:
            found = [
                item_of(i, u, adopted=False)
                for i, u in connection.execute(statement)
            ]
        return sorted(item.row.number for item in found)


_ROWS = sa.select(s3_images.c.id, s3_images.c.uuid)
_ITEMS = sa.select(items.c.id, items.c.os_id)
