"""Waiting for a lock of ours, cut short."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ec2map_sync.sinks import lock
from ec2map_sync.sql import database


@contextmanager
def impatience(engine: sa.Engine) -> Iterator[None]:
    """Let who waits for another writer give up within about a second."""
    before = lock.LOCK_TIMEOUT, database.LOCK_WAIT
    lock.LOCK_TIMEOUT = database.LOCK_WAIT = 1
    engine.dispose()
    try:
        yield
    finally:
        lock.LOCK_TIMEOUT, database.LOCK_WAIT = before
        engine.dispose()
