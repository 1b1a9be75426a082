"""One writer of ours at a time in a sink's database, whatever the host."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

LOCK_TIMEOUT = 20
"""Seconds to wait for another writer of ours."""

_NAME = "ec2map_sync."
_KEY = int.from_bytes(b"ec2map_s")
"""What the lock is called where names are numbers, one for each database."""

# MySQL's locks are those of the whole server, and their names have at most
# 64 characters, as many as a database's.
_LOCK = sa.func.concat(_NAME, sa.func.left(sa.func.database(), 50))
_GET = sa.select(sa.func.get_lock(_LOCK, LOCK_TIMEOUT))
_RELEASE = sa.select(sa.func.release_lock(_LOCK))

_LOCK_NOT_AVAILABLE = "55P03"


class Busy(sa.exc.SQLAlchemyError):
    """Another writer of ours holds this database's lock."""


@contextmanager
def alone(engine: Engine, sink: str) -> Iterator[Connection]:
    """Returns a connection behind a lock of the database's own.

    Conditions on what was seen do not notice X, then Y, then X again; the
    lock, held until after the commit, does not have to. On PostgreSQL and
    SQLite it ends with the transaction: one commit, and that at the end.

    :raises Busy: somebody else has held it for LOCK_TIMEOUT.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # BEGIN IMMEDIATE is a lock; it comes before the first statement.
            connection.exec_driver_sql("SELECT 1")
            yield connection
        elif connection.dialect.name == "postgresql":
            _lock_transaction(connection, sink)
            yield connection
        else:
            with _session_lock(connection, sink):
                yield connection


def try_once(engine: Engine) -> None:
    """Asks for the lock and gives it back, whoever holds it now.

    A cluster in strict mode refuses it to everybody.
    """
    if engine.dialect.name == "mysql":
        with engine.connect() as connection:
            if connection.scalar(sa.select(sa.func.get_lock(_LOCK, 0))):
                connection.execute(_RELEASE)


def _lock_transaction(connection: Connection, sink: str) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
    try:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_KEY)))
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise Busy(f"another writer holds the lock of {sink}") from error


@contextmanager
def _session_lock(connection: Connection, sink: str) -> Iterator[None]:
    if not connection.scalar(_GET):
        raise Busy(f"another writer holds the lock of {sink}")
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(_RELEASE)
