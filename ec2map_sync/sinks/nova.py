"""A Nova cell: the table s3_images, which makes EC2 ids out of UUIDs."""

import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.rules.ec2id import DERIVED, LEGACY, ON_DEMAND
from ec2map_sync.rules.names import sink_of
from ec2map_sync.rules.rows import LAST, Numbered, SinkRow
from ec2map_sync.sinks import (
    Judge,
    Plan,
    Ranges,
    Row,
    instances,
    lock,
    plan,
)
from ec2map_sync.sinks.instances import Instance
from ec2map_sync.sql.database import WRITE
from ec2map_sync.sql.errors import again
from ec2map_sync.sql.rowprints import Prints, add_up
from ec2map_sync.sql.statements import insert, insert_free, select_in

LOG = logging.getLogger(__name__)

_PLACEHOLDER = "00000000-0000-0000-0000-000000000000"

# The columns that Nova 34 has; it reads id and uuid, whatever "deleted" says
# (read_deleted="yes"), and archives rows whose "deleted" is not 0.
s3_images = sa.Table(
    "s3_images",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("created_at", sa.DateTime),
    sa.Column("deleted", sa.Integer),
)

_ROWS = sa.select(s3_images.c.id, s3_images.c.uuid)
_SLICES = 16
_LOOKED = "ec2map_looked"
LOOK_AGAIN = 1.0
"""Seconds after which a connection may lead to another server."""


def next_id(connection: Connection) -> int:
    """Returns Nova's next id on this MySQL or MariaDB server; 1 if not shown.

    What information_schema has may be a day old on MySQL.
    """
    create = connection.exec_driver_sql("SHOW CREATE TABLE s3_images").one()[1]
    options = str(create).rpartition("\n)")[2]
    found = re.search(r"\bAUTO_INCREMENT=(\d+)", options)
    return int(found[1]) if found else 1


# Nova counts on from the largest id that was ever inserted, and InnoDB keeps
# that across restarts; so this lock also keeps Nova's own ids above our band,
# without a right to ALTER. It does so in every transaction of ours, before
# anything else: on the server that the link leads to by now, on each replica,
# and on every node of a cluster, none of which is told of what is rolled back.
_STAKE = lock.Stake(
    s3_images.c.id,
    range(ON_DEMAND.first - 1, ON_DEMAND.first - 65, -1),
    {"uuid": _PLACEHOLDER},
)


def _push_sequence(connection: Connection) -> int:
    """Sets PostgreSQL's sequence forward, if it is behind, and never back.

    Nova may draw from it at the same moment: a value that was read before,
    and is set again, would be drawn twice. Gives where it was; 0 if above.
    """
    sequence = connection.scalar(
        sa.select(sa.func.pg_get_serial_sequence(s3_images.name, "id"))
    )
    if sequence is None:
        return 0  # the table's owner lets ids come from elsewhere
    last = ON_DEMAND.first - 1
    drawn: sa.ColumnClause[int] = sa.column("last_value")
    pushed = sa.func.setval(sequence, sa.func.greatest(last, drawn))
    row = connection.execute(
        sa.select(pushed, drawn)
        .select_from(sa.text(sequence))  # it comes quoted
        .where(drawn < last)
    ).one_or_none()
    return int(row[1]) if row else 0


class NovaSession:
    """One transaction in a cell."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def plan(
        self, settled: Sequence[Numbered], *, judge: Judge, rewrite: bool
    ) -> Plan:
        """Finds what stands under the numbers."""
        found = self._rows(wanted.number for wanted in settled)
        is_ours = judge(found.values())
        return plan(found, settled, is_ours=is_ours, rewrite=rewrite)

    def apply(self, steps: Plan) -> None:
        """Empties, fills and commits."""
        for row in steps.remove:
            self._connection.execute(
                sa.delete(s3_images).where(
                    s3_images.c.id == row.number,
                    s3_images.c.uuid == row.uuid,
                )
            )
        insert(self._connection, list(s3_images.c), _values(steps.add))
        self._connection.commit()

    def put(self, rows: Sequence[SinkRow]) -> int:
        """Inserts rows where none stands, unlooked; commits if that is all.

        Hardly ever does one stand there, and a look costs as much.
        """
        columns = list(s3_images.c)
        done = insert_free(self._connection, columns, _values(rows))
        if done == len(rows):
            self._connection.commit()
        return done

    def _rows(self, numbers: Iterable[int]) -> Mapping[int, SinkRow]:
        """Reads rows by primary key: uuid has no index in Nova."""
        rows = select_in(self._connection, _ROWS, s3_images.c.id, numbers)
        return {row.id: SinkRow(number=row.id, uuid=row.uuid) for row in rows}


def _values(rows: Iterable[SinkRow]) -> Iterator[tuple[Any, ...]]:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    return ((row.number, row.uuid, now, 0) for row in rows)


class NovaSink:
    """A cell's database.

    Nobody else has rows under derived numbers, so that ranges of them can
    be compared.
    """

    adoptable_below = LEGACY.stop
    needs_kind = False

    def __init__(self, cell: str, engine: Engine) -> None:
        self.name = sink_of(cell)
        self.ranges: Ranges | None = self
        self.suspect = False
        self._engine = engine
        self._writing = engine.execution_options(**WRITE)
        # Nova takes the first row that it is given, and does not say which
        # should be the first: the lowest id on MySQL, MariaDB and SQLite; on
        # PostgreSQL the one that lies first in the table's file, which as a
        # rule was inserted first.
        self._place: sa.ColumnElement[Any] = s3_images.c.id
        self._by_number = engine.dialect.name != "postgresql"
        if not self._by_number:
            self._place = sa.literal_column("ctid", sa.Text)

    @again
    def reserve(self) -> None:
        """Keeps Nova's own ids above our band, also where nothing is ours."""
        with self._alone() as connection:
            connection.commit()

    def scan(self, after: int, limit: int) -> list[SinkRow]:
        """Reads a page of the table in the order of its primary key."""
        return [
            SinkRow(number=number, uuid=uuid)
            for number, uuid in self.page(after + 1, LAST, limit)
        ]

    def rows(self, numbers: Iterable[int]) -> list[SinkRow]:
        """Reads rows by primary key: uuid has no index in Nova."""
        with self._engine.connect() as connection:
            rows = select_in(connection, _ROWS, s3_images.c.id, numbers)
            return [SinkRow(number=i, uuid=uuid) for i, uuid in rows]

    def page(self, start: int, stop: int, limit: int) -> list[Row]:
        """Reads the first rows of a range."""
        last = min(stop, ON_DEMAND.stop) - 1  # what the column takes
        statement = (
            _ROWS.where(s3_images.c.id >= start, s3_images.c.id <= last)
            .order_by(s3_images.c.id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [(i, uuid) for i, uuid in connection.execute(statement)]

    def prints(self, start: int, stop: int) -> Prints:
        """Returns the prints of a range."""
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
        """Finds every row of an image, the one that a guest sees first."""
        return self.all_numbers_of([uuid]).get(uuid.lower(), [])

    def all_numbers_of(self, uuids: Iterable[str]) -> dict[str, list[int]]:
        """Finds the rows of some images, in one look through the table.

        By image, as a key; the row that a guest sees comes first.
        """
        found: dict[str, list[int]] = {}
        ordered = _ROWS.order_by(self._place)
        with self._engine.connect() as connection:
            rows = select_in(connection, ordered, s3_images.c.uuid, uuids)
            for number, uuid in rows:
                found.setdefault(uuid.lower(), []).append(number)
        return found

    def first(self, numbers: Sequence[int]) -> int | None:
        """Returns which number Nova finds first, of some as they lie."""
        if self._by_number:
            return min(numbers, default=None)
        return numbers[0] if numbers else None

    def made_at(self, numbers: Iterable[int]) -> dict[int, datetime]:
        """Returns since when there are rows under some numbers."""
        made = sa.select(s3_images.c.id, s3_images.c.created_at)
        with self._engine.connect() as connection:
            rows = select_in(connection, made, s3_images.c.id, numbers)
            return {number: at for number, at in rows if at is not None}

    def instances(
        self, after: int, limit: int, image: str | None = None
    ) -> list[Instance]:
        """Reads the first living instances whose id is above ``after``."""
        return instances.page(self._engine, after, limit, image)

    def seen(self, numbers: Iterable[int]) -> dict[str, int]:
        """Returns what a guest sees, by primary key."""
        statement = _ROWS.add_columns(self._place)
        found: dict[str, tuple[Any, int]] = {}
        with self._engine.connect() as connection:
            rows = select_in(connection, statement, s3_images.c.id, numbers)
            for number, uuid, place in rows:
                one = (_place(place), number)
                found[uuid] = min(one, found.get(uuid, one))
        return {uuid: number for uuid, (_, number) in found.items()}

    @property
    def has_instances(self) -> bool:
        """Whether this is a whole cell, with Nova's other tables."""
        return sa.inspect(self._engine).has_table(instances.instances.name)

    @property
    def instances_grant(self) -> str:
        """What gives the right to read instances."""
        return instances.grant(self._engine)

    def close(self) -> None:
        """Drops all connections."""
        self._engine.dispose()

    @contextmanager
    def session(self) -> Iterator[NovaSession]:
        """Begins a transaction that no other writer of ours can be in."""
        with self._alone() as connection:
            yield NovaSession(connection)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """Begins a transaction: nobody else of ours, and Nova above us.

        A server restored from a backup has forgotten where Nova was, and one
        that has taken another's place may not have heard of it.
        """
        with self._writing.connect() as connection:
            found = self._look(connection)
            lock.take(connection, self.name, _STAKE)
            if connection.dialect.name == "postgresql":
                found = _push_sequence(connection)
            if found in DERIVED:
                self._warn(found)
            yield connection

    def _look(self, connection: Connection) -> int:
        """Returns where Nova counts, on MySQL; 0 if that was seen just now.

        A connection to a proxy outlives the server behind it.
        """
        now, looked = time.monotonic(), connection.info.get(_LOOKED)
        if connection.dialect.name != "mysql" or (
            looked is not None and now - looked < LOOK_AGAIN
        ):
            return 0
        connection.info[_LOOKED] = now
        return next_id(connection)

    def _warn(self, found: int) -> None:
        LOG.warning(
            "%s: Nova counted its ids in our band, from %d on, as after a "
            "failover; no more. 'ec2map-sync divergence list' has those that "
            "it gave away there",
            self.name,
            found,
        )
        self.suspect = True


def _place(place: int | str) -> tuple[int, ...]:
    """Makes places comparable; PostgreSQL's are texts: (block,index)."""
    if isinstance(place, int):
        return (place,)
    return tuple(map(int, place.strip("()").split(",")))
