"""Databases that may go away, keep an answer to themselves, or only let read.

The package opens SQLite files as it always does; what stands between it and
the file is a connection of ours. Each statement takes time, in which others
run; a transaction that finds another one writing waits for it as SQLite
would, without holding up the world.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine
from sqlalchemy.event.base import _Dispatch

from played import nature
from played.faults import Broken, passing
from played.scheduler import Process, Scheduler, Task

T = TypeVar("T")

BUSY = 30.0
"""Seconds that SQLite waits for another's transaction."""

_MANY = 1000
"""Engines of which it is remembered how their events are heard."""

_WRITES = ("INSERT", "UPDATE", "DELETE")


class Database:
    """A database's server: a file, and who is connected to it."""

    def __init__(self, path: Path, scheduler: Scheduler) -> None:
        self.path = path
        self.up = True
        self.read_only = False
        self.connections: dict[int, Connection] = {}
        self.waiting: list[Task] = []
        self._scheduler = scheduler
        _known[str(path)] = self

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.name

    def stop(self) -> None:
        """Goes away, with all transactions that are open."""
        self.up = False
        for connection in list(self.connections.values()):
            connection.drop()

    def released(self) -> None:
        """Lets those go on who wait for a transaction's end."""
        waiting, self.waiting = self.waiting, []
        for task in waiting:
            self._scheduler.wake(task)

    def write(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Writes as somebody else does, once nobody is in the way."""
        self.do(
            lambda connection: connection.executemany(statement, rows),
            lambda _done: None,
        )

    def do(
        self,
        act: Callable[[sqlite3.Connection], T],
        then: Callable[[T], object],
    ) -> None:
        """Does what somebody else does, once nobody is in the way.

        What comes of it is told when it is committed.
        """
        connection = sqlite3.connect(self.path, timeout=0)
        try:
            with connection:
                done = act(connection)
        except sqlite3.OperationalError:
            soon = self._scheduler.now + 0.05
            self._scheduler.at(soon, lambda: self.do(act, then))
        else:
            then(done)
        finally:
            connection.close()

    def replace(self, content: sqlite3.Connection) -> None:
        """Puts other content in the place of this one."""
        for connection in list(self.connections.values()):
            connection.drop()
        for end in ("", "-wal", "-shm"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)
        target = sqlite3.connect(self.path)
        content.backup(target)
        target.close()

    def copy(self) -> sqlite3.Connection:
        """Makes a backup in memory."""
        copy = sqlite3.connect(":memory:")
        source = sqlite3.connect(self.path)
        source.backup(copy)
        source.close()
        return copy


_known: dict[str, Database] = {}


class Cursor(sqlite3.Cursor):
    """What SQLAlchemy executes statements with."""

    connection: "Connection"

    def execute(self, sql: str, parameters: Any = ()) -> "Cursor":
        """Executes one, after a while."""
        self.connection.reach(sql)
        return self._patiently(sql, parameters, super().execute)

    def executemany(self, sql: str, parameters: Any) -> "Cursor":
        """Executes one for each of some."""
        self.connection.reach(sql)
        return self._patiently(sql, parameters, super().executemany)

    def _patiently(self, sql: str, parameters: Any, execute: Any) -> "Cursor":
        while True:
            try:
                execute(sql, parameters)
            except sqlite3.OperationalError as error:
                # Whoever has read what is no longer so waits in vain.
                if error.sqlite_errorname != "SQLITE_BUSY":
                    raise
                self.connection.wait(error)
            else:
                return self


class Connection(sqlite3.Connection):
    """A session of a process."""

    database: Database
    process: Process | None = None
    warm = False
    """Whether SQLAlchemy has set it up, which nothing interrupts."""

    def join(self, database: Database) -> None:
        """Is a connection to a database from now on."""
        task = nature.current()
        self.database = database
        self._dropped = False
        if task is not None:
            self.process = task.process
            database.connections[id(self)] = self
            self.process.at_death.append(self.drop)

    def cursor(self, _factory: Any = None) -> Cursor:
        """Returns a cursor of ours."""
        return super().cursor(Cursor)

    def reach(self, sql: str) -> None:
        """Takes the time that a statement takes on its way.

        :raises sqlite3.OperationalError: nobody answers.
        """
        if self.process is None:
            return
        if sql.startswith("BEGIN"):
            self.warm = True
        if not self.warm or sql == "BEGIN":
            return  # that alone asks nobody for anything
        scheduler = nature.scheduler()
        scheduler.park(scheduler.travel())
        self._require()
        try:
            passing(scheduler, self.process, "statement", lambda: None)
        except Broken:
            raise self._gone() from None
        if self.database.read_only and sql.lstrip().startswith(_WRITES):
            raise sqlite3.OperationalError(
                "attempt to write a readonly database"
            )

    def wait(self, error: sqlite3.OperationalError) -> None:
        """Waits for the end of somebody's transaction.

        :raises sqlite3.OperationalError: it does not come.
        """
        task = nature.current()
        if task is None:
            raise error
        self.database.waiting.append(task)
        if not nature.scheduler().park(BUSY):
            raise error
        self._require()

    def commit(self) -> None:
        """Commits, if nothing comes in between."""
        if self.process is None or not self.warm or not self.in_transaction:
            super().commit()
            return
        scheduler = nature.scheduler()
        scheduler.park(scheduler.travel())
        self._require()
        try:
            passing(scheduler, self.process, "commit", self._commit)
        except Broken:
            raise self._gone() from None
        scheduler.park(scheduler.travel())
        self._require()

    def _commit(self) -> None:
        super().commit()
        self.database.released()

    def rollback(self) -> None:
        """Undoes what is not committed."""
        super().rollback()
        self.database.released()

    def close(self) -> None:
        """Ends the session."""
        self.database.connections.pop(id(self), None)
        if self.process is not None and self.process.alive:
            self.process.at_death.remove(self.drop)
            self.process = None
        super().close()
        self.database.released()

    def drop(self) -> None:
        """Is cut off: what is open is undone, by the server."""
        self._dropped = True
        self.close()

    def _require(self) -> None:
        if self._dropped or not self.database.up:
            raise self._gone()

    def _gone(self) -> sqlite3.OperationalError:
        if not self._dropped:
            self.drop()
        return sqlite3.OperationalError("the server has gone away")


def _share_statements() -> None:
    """Lets all engines share what SQLAlchemy has compiled.

    Each process that starts makes engines of its own, and would compile the
    same statements anew: a fifteenth of the time that a world takes.
    """
    kind: Any = SQLiteDialect_pysqlite
    kind.__eq__ = lambda one, other: type(one) is type(other)
    kind.__hash__ = lambda one: hash(type(one))
    make = Engine.__init__
    compiled: list[Any] = []

    def share(engine: Any, *args: Any, **options: Any) -> None:
        make(engine, *args, **options)
        compiled.append(engine._compiled_cache)
        engine._compiled_cache = compiled[0]
        del compiled[1:]

    Engine.__init__ = share  # type: ignore[method-assign]


def _join_listeners_once() -> None:
    """Lets all connections of an engine share how its events are heard.

    Each would find that out anew, a twentieth of a world's time: nobody
    listens to one connection alone.
    """
    join: Any = _Dispatch._join
    joined: dict[int, tuple[Any, Any]] = {}

    def once(own: Any, engine: Any) -> Any:
        if id(engine) not in joined:
            if len(joined) > _MANY:
                joined.clear()
            joined[id(engine)] = engine, join(own, engine)
        return joined[id(engine)][1]

    _Dispatch._join = once  # type: ignore[assignment, method-assign]


def _begin_shortly() -> None:
    """Begins transactions that only read past all that SQLAlchemy does.

    Half of all statements are that. What goes wrong goes SQLAlchemy's way.
    """
    execute: Any = sa.Connection.exec_driver_sql

    def begin(connection: Any, statement: str, *args: Any) -> Any:
        if statement == "BEGIN":
            with suppress(sqlite3.Error):
                return connection.connection.cursor().execute(statement)
        return execute(connection, statement, *args)

    sa.Connection.exec_driver_sql = begin  # type: ignore[assignment, method-assign]


def install() -> None:
    """Lets every engine connect through us."""
    _share_statements()
    _join_listeners_once()
    _begin_shortly()

    @sa.event.listens_for(Engine, "do_connect")
    def connect(
        _dialect: Any, _record: Any, cargs: Sequence[Any], cparams: Any
    ) -> Connection:
        database = _known[cargs[0]]
        if not database.up:
            raise sqlite3.OperationalError("nobody answers")
        cparams = {**cparams, "factory": Connection, "timeout": 0}
        connection: Connection = sqlite3.connect(*cargs, **cparams)
        connection.join(database)
        return connection
