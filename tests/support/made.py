"""Ledgers that are made at once, as every second test needs one."""

import sqlite3
from functools import cache
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import schema


def make(engine: Engine) -> None:
    """Make the tables of an empty ledger, as `schema.upgrade` does.

    For SQLite, what the migrations have made once is copied, but for what
    tells one ledger from another.
    """
    if engine.dialect.name != "sqlite":
        schema.upgrade(engine)
        return
    raw = engine.raw_connection()
    try:
        target = raw.driver_connection
        assert isinstance(target, sqlite3.Connection)
        _template().backup(target)
        target.execute("UPDATE head SET identity = ?", [str(uuid4())])
        target.commit()
    finally:
        raw.close()


@cache
def _template() -> sqlite3.Connection:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    schema.upgrade(engine)
    template = engine.raw_connection().driver_connection
    assert isinstance(template, sqlite3.Connection)
    return template
