"""Waiting for a lock of ours, cut short."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ec2map_sync.sinks import lock


@contextmanager
def impatience(engine: sa.Engine) -> Iterator[None]:
    """Let who waits for another writer give up within about a second."""
    before = lock.LOCK_TIMEOUT
    lock.LOCK_TIMEOUT = 1
    _wait(engine, "1")
    try:
        yield
    finally:
        lock.LOCK_TIMEOUT = before
        _wait(engine, "DEFAULT")


def _wait(engine: sa.Engine, seconds: str) -> None:
    """Change what MySQL's connections from now on wait."""
    if engine.dialect.name == "mysql":
        with engine.connect() as connection:
            connection.exec_driver_sql(
                f"SET GLOBAL innodb_lock_wait_timeout = {seconds}"
            )
        engine.dispose()
