"""Engines for the ledger and the sinks, set up the same way."""

import logging
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from ec2map_sync.rules.errors import ConfigError, one_line
from ec2map_sync.sql import drivers, errors, images, tls

LOG = logging.getLogger(__name__)

WRITE = {"ec2map_write": True}
"""Execution option of transactions that are going to write (SQLite)."""

_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "postgresql": "postgresql+psycopg",
    "sqlite": "sqlite",
}
_MYSQL = {"mysql", "mariadb"}

RESTED = 0.5
"""Seconds after which a connection is asked whether it still works.

Servers and proxies may end one that rests; none does so within a second.
"""

LOCK_WAIT = 5
"""Seconds for which MySQL lets a statement wait for a row.

Whoever makes a server read only, or has it hold still for a dump, waits for
statements that wait, while no new ones may begin: if whoever has the row needs
another one, nobody on that server writes until this has passed.
"""

_IN_TRANSACTION = 1
"""A bit of what MySQL says after each statement: SERVER_STATUS_IN_TRANS."""

_SHARED: list[Any] = []
"""What PyMySQL makes for TLS that is not asked for, once made."""

_CONNECT_TIMEOUT = 10
PATIENCE = 60
"""Seconds after which a silent server counts as gone."""


def parse_url(url: str, option: str) -> URL:
    """Reads a database URL.

    :raises ConfigError: naming ``option``, if it cannot be used.
    """
    try:
        parsed = _parsed(url)
        backend = parsed.get_backend_name()
        # Whatever driver Nova uses for it: ours is the one installed here.
        parsed = parsed.set(drivername=_DRIVERS.get(backend, backend))
        dialect = parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(
            f"{option} is no database URL that can be used "
            "(mysql+pymysql://user:password@host/name, "
            "postgresql://user:password@host/name, or sqlite:///file)"
        ) from error
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from error
    if backend not in _DRIVERS:
        raise ConfigError(
            f"{option} names {backend}; "
            "MySQL, MariaDB, PostgreSQL and SQLite are supported"
        )
    try:
        dialect.import_dbapi()
    except ImportError as error:
        raise ConfigError(
            f"{option}: the driver of {backend} cannot be loaded "
            f"({one_line(error)})"
        ) from error
    known = _known(backend, parsed.query)
    unknown = parsed.query.keys() - known
    if unknown:
        LOG.debug("%s: left out: %s", option, ", ".join(sorted(unknown)))
    parsed = drivers.without_doubles(parsed.difference_update_query(unknown))
    try:
        drivers.require(parsed)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from error
    return parsed


def _parsed(url: str) -> URL:
    """Takes a URL apart."""
    if "\0" in unquote(url):
        # It ends what it is in, for a driver.
        raise ArgumentError("a null byte")
    try:
        return make_url(url)
    except ValueError as error:
        raise ConfigError(drivers.NO_PORT) from error


def _known(backend: str, given: Iterable[str]) -> set[str]:
    """Returns which arguments of a URL are used.

    Nova's drivers take others, and its URLs are not ours to change: devstack
    adds a plugin where its query counter is on.
    """
    if backend == "postgresql":
        from psycopg import pq  # noqa: PLC0415, only who has it needs it

        options = pq.Conninfo.get_defaults()
        return {option.keyword.decode() for option in options}
    if backend in _MYSQL:
        # What asks for TLS is not left out: it is refused, if unknown.
        asks = {name for name in given if name.startswith("ssl")}
        return {*drivers.TAKEN_BY_MYSQL, *asks}
    if "uri" in given:
        return set(given)
    return set(drivers.CONVERTED_FOR_SQLITE)


def create_engine(
    url: URL, *, patience: int = PATIENCE, reads_only: bool = False
) -> Engine:
    """Makes an engine; connects when first used.

    ``patience``: seconds after which a silent server counts as gone.
    ``reads_only``: nothing is ever written, so that no statement needs a
    transaction around it, nor a round trip to end that.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url)
    # A row lock that is taken first has to see what its predecessor has
    # committed: with REPEATABLE READ any SELECT before it pins the past.
    engine = sa.create_engine(
        url.difference_update_query(tls.OPTIONS),
        isolation_level="AUTOCOMMIT" if reads_only else "READ COMMITTED",
        pool_recycle=3600,
        pool_reset_on_return=None,
        connect_args=_connect_args(url, patience),
    )
    _roll_back_what_is_open(engine)
    if reads_only:
        _end_no_transaction_that_is_none(engine)
    _ping_after_rest(engine)
    _leave_what_cannot_write(engine)
    if backend in _MYSQL:
        _connect_in_our_way(engine)
        _tell_sessions(engine)
    else:
        images.read_as_text(engine)
    return engine


def _connect_in_our_way(engine: Engine) -> None:
    """Lets PyMySQL read certificates once, and say where it connects.

    It reads all of the machine's with each connection, also of one that
    fails, where TLS is not asked for but taken if there is some: a megabyte,
    of which nobody counts how much still waits to be freed.

    A connection that is taken over by a proxy, which then says nothing, is
    none: for a server's greeting it would wait as long as for a query.
    """
    from pymysql import connections, err  # noqa: PLC0415, slow

    class _Link(connections.Connection):  # type: ignore[misc]
        def _create_ssl_ctx(self, sslp: Any) -> Any:
            if sslp:
                return super()._create_ssl_ctx(sslp)
            if not _SHARED:
                _SHARED.append(super()._create_ssl_ctx({}))
            return _SHARED[0]

        _read_timeout: float | None

        def connect(self, sock: Any = None) -> None:
            patience = self._read_timeout
            self._read_timeout = self.connect_timeout
            try:
                super().connect(sock)
            except err.OperationalError as error:
                # It names the host, also where that plays no part.
                for name in ("unix_socket", "bind_address"):
                    if getattr(self, name):
                        error.args += (f"{name}={getattr(self, name)}",)
                raise
            finally:
                self._read_timeout = patience

    engine.dialect.connect = _Link  # type: ignore[method-assign]


def _tell_sessions(engine: Engine) -> None:
    """Tells each new session how to wait for others.

    A node of a Galera cluster may not show yet what another one has
    committed: another host of ours may have written a sink by what this one
    does not know yet. So it catches up before a transaction reads.
    """

    @sa.event.listens_for(engine, "connect")
    def tell(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT}"
            )
            cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
            found = cursor.fetchone()
            if found and found[1] == "ON":
                cursor.execute("SET SESSION wsrep_sync_wait = 1")


def _leave_what_cannot_write(engine: Engine) -> None:
    """Treats a server that writes no more as one that is gone.

    After a switch-over the old primary answers, and keeps its connections:
    only new ones lead to where the address points now.
    """

    @sa.event.listens_for(engine, "handle_error")
    def leave(context: ExceptionContext) -> None:
        if errors.codes(context.original_exception) & errors.CANNOT_WRITE:
            context.is_disconnect = True


def _roll_back_what_is_open(engine: Engine) -> None:
    """Ends a transaction when its connection goes back, if there is one.

    SQLAlchemy's own way does it also after a commit: PyMySQL asks the server
    for that, though with the commit it has said that nothing is open. (psycopg
    does not.) Whatever else is left to SQLAlchemy, which knows what it began.
    """

    @sa.event.listens_for(engine, "reset")
    def reset(connection: Any, _record: Any, state: Any) -> None:
        status = getattr(connection, "server_status", _IN_TRANSACTION)
        if not state.transaction_was_reset and status & _IN_TRANSACTION:
            connection.rollback()


def _end_no_transaction_that_is_none(engine: Engine) -> None:
    """Rolls back only what the server has said to be open.

    For reading alone: a first statement that fails may leave locks, and the
    server says nothing of a transaction then.
    """
    roll_back = engine.dialect.do_rollback

    def do_rollback(dbapi_connection: Any) -> None:
        status = getattr(dbapi_connection, "server_status", _IN_TRANSACTION)
        if status & _IN_TRANSACTION:
            roll_back(dbapi_connection)

    engine.dialect.do_rollback = do_rollback  # type: ignore[method-assign]


def _ping_after_rest(engine: Engine) -> None:
    """Makes sure that a connection which has rested still works.

    SQLAlchemy's own way asks the server before each use: a round trip for
    every transaction. One that was used just now works, or has just broken,
    which an attempt finds out as well.
    """

    @sa.event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def ping(connection: Any, record: Any, _proxy: Any) -> None:
        since = record.info.get("rests_since")
        if since is None or time.monotonic() - since < RESTED:
            return
        try:
            alive = engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError from error
        if not alive:
            raise sa.exc.DisconnectionError


def _connect_args(url: URL, patience: int) -> dict[str, Any]:
    connecting = min(_CONNECT_TIMEOUT, patience)
    if url.get_backend_name() in _MYSQL:
        return {
            "connect_timeout": connecting,
            "read_timeout": patience,
            "write_timeout": patience,
            # Text would be encoded as Latin-1, which has not all letters.
            "password": str(url.password or "").encode(),
            **tls.arguments(drivers.single(url)),
        }
    return {
        # PgBouncer may hand each transaction to another session.
        "prepare_threshold": None,
        # In others, it may hand over bytes, or not all letters.
        "client_encoding": "UTF8",
        "connect_timeout": connecting,
        "tcp_user_timeout": patience * 1000,
        "keepalives_idle": max(1, patience // 2),
        "keepalives_interval": max(1, patience // 6),
        "keepalives_count": 3,
    }


def _sqlite(url: URL) -> Engine:
    patient = {} if "timeout" in url.query else {"timeout": 30}
    engine = sa.create_engine(url, connect_args=patient)

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
