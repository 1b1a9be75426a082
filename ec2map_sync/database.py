"""Engines for the ledger and the sinks, set up the same way."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from ec2map_sync.errors import ConfigError

WRITE = {"ec2map_write": True}
"""Execution option of transactions that are going to write (SQLite)."""

_DRIVERS = {"mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
_TIMEOUT = 60
"""Seconds after which a silent MySQL server counts as gone."""


def parse_url(url: str, option: str) -> URL:
    """Read a database URL.

    :raises ConfigError: naming ``option``, if it cannot be used.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in _DRIVERS:
            parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
        # devstack adds this where its query counter is on; it is no
        # argument of the driver.
        parsed = parsed.difference_update_query(["plugin"])
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigError(
            f"{option} is no database URL that can be used "
            "(mysql+pymysql://user:password@host/name, or sqlite:///file)"
        ) from error
    if parsed.get_backend_name() not in {"mysql", "mariadb", "sqlite"}:
        raise ConfigError(
            f"{option} names {parsed.get_backend_name()}; "
            "MySQL, MariaDB and SQLite are supported"
        )
    return parsed


def create_engine(url: URL) -> Engine:
    """Make an engine; connects when first used."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    # A row lock that is taken first has to see what its predecessor has
    # committed: with REPEATABLE READ any SELECT before it pins the past.
    return sa.create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_recycle=3600,
        connect_args={
            "connect_timeout": 10,
            "read_timeout": _TIMEOUT,
            "write_timeout": _TIMEOUT,
        },
    )


def _sqlite(url: URL) -> Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, see below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A transaction that reads first and writes later would fail with
        # "database is locked" instead of waiting for its turn.
        writes = connection.get_execution_options().get("ec2map_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def describe(error: SQLAlchemyError) -> str:
    """Say in one line what a database answered, without the statement."""
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split())[:300]
