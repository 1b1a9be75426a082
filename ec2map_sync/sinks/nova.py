"""A Nova cell: the table s3_images, which makes EC2 ids out of UUIDs."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.database import WRITE
from ec2map_sync.ec2id import ON_DEMAND
from ec2map_sync.rows import SinkRow
from ec2map_sync.sinks import Plan, in_parts

LOG = logging.getLogger(__name__)

LOCK_TIMEOUT = 20
"""Seconds to wait for another writer of ours."""

_IN_LIMIT = 1000
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


class Busy(sa.exc.SQLAlchemyError):
    """Another writer of ours holds this database's lock."""


def _reserve(connection: Connection) -> None:
    """Push the counter of Nova's own ids above our band.

    InnoDB counts on from the largest id that was ever inserted, rolled back
    or not, and keeps that across restarts; so this needs no right to ALTER,
    and doing it again changes nothing. An explicit id of ours would push it
    too, but only just behind itself, into our band.
    """
    if connection.dialect.name == "sqlite":
        return  # no counter: the next id follows the largest row
    # If the row is there, the counter is behind it already.
    with suppress(sa.exc.IntegrityError):
        connection.execute(
            sa.insert(s3_images).values(
                id=ON_DEMAND.first - 1, uuid=_PLACEHOLDER
            )
        )
    connection.rollback()


class NovaSession:
    """One transaction in a cell."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, numbers: Iterable[int]) -> Mapping[int, SinkRow]:
        """Read rows by primary key: uuid has no index in Nova."""
        ids = list(numbers)
        statement = sa.select(s3_images.c.id, s3_images.c.uuid)
        return {
            row.id: SinkRow(number=row.id, uuid=row.uuid)
            for start in range(0, len(ids), _IN_LIMIT)
            for row in self._connection.execute(
                statement.where(
                    s3_images.c.id.in_(ids[start : start + _IN_LIMIT])
                )
            )
        }

    def apply(self, plan: Plan) -> None:
        """Empty, fill and commit."""
        if plan.add:
            # Each time: a cell restored from a backup has forgotten it.
            _reserve(self._connection)
        for row in plan.remove:
            self._connection.execute(
                sa.delete(s3_images).where(
                    s3_images.c.id == row.number,
                    s3_images.c.uuid == row.uuid,
                )
            )
        now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
        for rows in in_parts(plan.add, _IN_LIMIT):
            self._connection.execute(
                sa.insert(s3_images),
                [
                    {
                        "id": row.number,
                        "uuid": row.uuid,
                        "created_at": now,
                        "deleted": 0,
                    }
                    for row in rows
                ],
            )
        self._connection.commit()


class NovaSink:
    """A cell's database."""

    def __init__(self, cell: str, engine: Engine) -> None:
        self.name = f"nova:{cell}"
        self._engine = engine.execution_options(**WRITE)

    def reserve(self) -> None:
        """Push Nova's own ids above our band, also where nothing is ours."""
        with self._engine.connect() as connection:
            _reserve(connection)

    def scan(self, after: int, limit: int) -> list[SinkRow]:
        """Read a page of the table in the order of its primary key."""
        statement = (
            sa.select(s3_images.c.id, s3_images.c.uuid)
            .where(s3_images.c.id > after)
            .order_by(s3_images.c.id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                SinkRow(number=row.id, uuid=row.uuid)
                for row in connection.execute(statement)
            ]

    @contextmanager
    def session(self) -> Iterator[NovaSession]:
        """Begin a transaction behind a lock of the database's own.

        Conditions on what was seen do not notice X, then Y, then X again;
        the lock, held until after the commit, does not have to.
        """
        with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                yield NovaSession(connection)  # BEGIN IMMEDIATE is a lock
                return
            name = sa.func.concat("ec2map_sync.", sa.func.database())
            if not connection.scalar(
                sa.select(sa.func.get_lock(name, LOCK_TIMEOUT))
            ):
                raise Busy(f"another writer holds the lock of {self.name}")
            try:
                yield NovaSession(connection)
            finally:
                connection.rollback()
                connection.execute(sa.select(sa.func.release_lock(name)))
