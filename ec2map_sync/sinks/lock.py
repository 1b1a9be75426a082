"""One writer of ours at a time in a sink's database, whatever the host."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.sql import errors

LOCK_TIMEOUT = 20
"""Seconds to wait for another writer of ours; MySQL may wait longer."""

_KEY = int.from_bytes(b"ec2map_s")
"""What the lock is called where names are numbers, one for each database."""


class Busy(sa.exc.SQLAlchemyError):
    """Another writer of ours holds this database's lock."""


@dataclass(frozen=True, slots=True)
class Stake:
    """Rows that nobody has; of each, two transactions cannot both be."""

    column: sa.Column[Any]
    """The primary key."""
    keys: Sequence[int | str]
    """The first one that is free is taken."""
    others: dict[str, Any]
    """What else the row must have."""


def take(connection: Connection, sink: str, stake: Stake) -> None:
    """Locks out other writers of ours until the transaction ends.

    It is the first thing in it. Conditions on what was seen do not notice X,
    then Y, then X again; behind the lock, they do not have to.

    MySQL's own locks with names belong to a session, which a proxy may
    share, and to one node of a cluster; some clusters forbid them. So there,
    a row is inserted and deleted: nobody ever sees it, another writer's
    insertion of the same waits for our end, and on another node of the
    cluster one of the two commits fails.

    :raises Busy: somebody else has held it for LOCK_TIMEOUT.
    """
    if connection.dialect.name == "sqlite":
        # BEGIN IMMEDIATE is a lock; it comes before the first statement.
        connection.exec_driver_sql("SELECT 1")
        return
    deadline = time.monotonic() + LOCK_TIMEOUT
    while not _try(connection, stake):
        if time.monotonic() > deadline:
            raise Busy(f"another writer holds the lock of {sink}")


def _try(connection: Connection, stake: Stake) -> bool:
    """Waits for the lock; False if it was in vain, and may not be again.

    Where several have waited for one row, some of them are told of a
    deadlock when it becomes free.
    """
    try:
        if connection.dialect.name == "postgresql":
            _lock_key(connection)
        else:
            _lock_row(connection, stake)
    except sa.exc.OperationalError as error:
        in_vain = errors.DEADLOCK | errors.NOT_AVAILABLE
        if not errors.codes(error.orig) & in_vain:
            raise
        connection.rollback()
        return False
    return True


def _lock_key(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_KEY)))


def _lock_row(connection: Connection, stake: Stake) -> None:
    table, taken = stake.column.table, None
    for key in stake.keys:
        values = {stake.column.name: key} | stake.others
        try:
            connection.execute(sa.insert(table).values(values))
        except sa.exc.IntegrityError as error:
            taken = error  # an image has it: any other will do
        else:
            # Its lock stays, as a write's does.
            connection.execute(sa.delete(table).where(stake.column == key))
            return
    if taken:
        raise taken
