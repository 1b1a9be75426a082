"""Looking into sinks without their lock: what a sink holds, and guests see."""

from collections.abc import Iterable
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.rules.ec2id import Kind, format_id, parse_id
from ec2map_sync.sinks.ec2api import Ec2ApiSink, item_of, items
from ec2map_sync.sinks.nova import s3_images
from ec2map_sync.sql.rowprints import Prints, add_up
from ec2map_sync.sql.statements import select_in

_SLICES = 16

Row = tuple[int, str]
"""A number and the UUID under it."""


class Window(Protocol):
    """A view into one sink that holds nobody up."""

    name: str

    needs_kind: bool
    """Whether nothing is written before an image's kind is known."""

    def rows(self, numbers: Iterable[int]) -> dict[int, str]:
        """Read rows by primary key: number -> UUID."""

    def seen(self, numbers: Iterable[int]) -> dict[str, int]:
        """Tell, by UUID, what a guest sees if there are these rows only."""

    def numbers_of(self, uuid: str) -> list[int]:
        """Find every row of an image; reads the whole table.

        The first one is what a guest sees.
        """


class NovaWindow:
    """A view into a cell's s3_images.

    Nobody else has rows under derived numbers, so that ranges of them can
    be compared.
    """

    needs_kind = False

    def __init__(self, cell: str, engine: Engine) -> None:
        self.name = f"nova:{cell}"
        self._engine = engine
        # Nova takes the first row that it is given, and does not say which
        # should be the first: the lowest id on MySQL, MariaDB and SQLite; on
        # PostgreSQL the one that lies first in the table's file, which as a
        # rule was inserted first.
        self._place: sa.ColumnElement[Any] = s3_images.c.id
        if engine.dialect.name == "postgresql":
            self._place = sa.literal_column("ctid", sa.Text)

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

    def prints(self, start: int, stop: int) -> Prints:
        """Give the prints of a range."""
        step = max(1, (stop - start) // _SLICES)
        number = s3_images.c.id
        return add_up(
            self._engine,
            number,
            s3_images.c.uuid,
            [
                sa.and_(number >= low, number < min(low + step, stop))
                for low in range(start, stop, step)
            ],
        )

    def numbers_of(self, uuid: str) -> list[int]:
        """Find every row of an image: Nova has no index on uuid."""
        statement = _ROWS.where(s3_images.c.uuid == uuid)
        with self._engine.connect() as connection:
            rows = connection.execute(statement.order_by(self._place))
            return [number for number, _ in rows]

    def seen(self, numbers: Iterable[int]) -> dict[str, int]:
        """Tell what a guest sees, by primary key."""
        statement = _ROWS.add_columns(self._place)
        found: dict[str, tuple[Any, int]] = {}
        with self._engine.connect() as connection:
            rows = select_in(connection, statement, s3_images.c.id, numbers)
            for number, uuid, place in rows:
                one = (_place(place), number)
                found[uuid] = min(one, found.get(uuid, one))
        return {uuid: number for uuid, (_, number) in found.items()}


class Ec2ApiWindow:
    """A view into ec2-api's items.

    ec2-api draws its own ids at random, also from our band.
    """

    name = Ec2ApiSink.name
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

    def numbers_of(self, uuid: str) -> list[int]:
        """Find the row of an image: os_id is unique."""
        statement = _ITEMS.where(items.c.os_id.in_([uuid, uuid.lower()]))
        with self._engine.connect() as connection:
            found = [
                item_of(i, u, adopted=False)
                for i, u in connection.execute(statement)
            ]
        return [item.row.number for item in found]

    def seen(self, numbers: Iterable[int]) -> dict[str, int]:
        """Tell which of these an image has: one at most."""
        return {uuid: number for number, uuid in self.rows(numbers).items()}


def _place(place: int | str) -> tuple[int, ...]:
    """Make places comparable; PostgreSQL's are texts: (block,index)."""
    if isinstance(place, int):
        return (place,)
    return tuple(map(int, place.strip("()").split(",")))


_ROWS = sa.select(s3_images.c.id, s3_images.c.uuid)
_ITEMS = sa.select(items.c.id, items.c.os_id)
