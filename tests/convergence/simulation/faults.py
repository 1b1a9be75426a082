"""Faults that strike a process in the middle of a step."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, TypeVar

import sqlalchemy as sa

T = TypeVar("T")


class Fault(Enum):
    """What happens at a commit, a publish or an acknowledgement."""

    CRASH = auto()
    """The process dies before it."""
    FAILURE = auto()
    """It fails, and the process is told."""
    SILENCE = auto()
    """It takes effect, but the process is told that it failed."""


class Crash(BaseException):
    """A process has died; no handler of the package may see it."""


class Outage(OSError):
    """A broker cannot be reached, or has gone."""


class Fuse:
    """Strikes at the k-th commit, publish or acknowledgement to come."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._left = 0

    def arm(self, fault: Fault, after: int) -> None:
        """Let the next but ``after`` such moment go wrong."""
        self._fault, self._left = fault, after

    def disarm(self) -> Fault | None:
        """Take the fuse out; gives the fault that has not struck."""
        fault, self._fault = self._fault, None
        return fault

    def on_bus(self, act: Callable[[], T]) -> T:
        """Do something on the bus, unless it is the moment."""
        fault = self._due()
        if fault is None:
            return act()
        if fault is Fault.CRASH:
            raise Crash
        if fault is Fault.SILENCE:
            act()
        raise Outage("the connection broke")

    def watch(self, engine: sa.Engine) -> None:
        """Strike at the commits of a database, too."""

        @sa.event.listens_for(engine, "commit")
        def before_commit(connection: sa.Connection) -> None:
            fault = self._due()
            if fault is None:
                return
            driver: Any = connection.connection.dbapi_connection
            if fault is Fault.SILENCE:
                driver.commit()
            else:
                driver.rollback()  # as the server does for the dead
            if fault is Fault.CRASH:
                raise Crash
            raise sa.exc.OperationalError("COMMIT", {}, Outage("gone away"))

    def _due(self) -> Fault | None:
        if self._fault is None:
            return None
        self._left -= 1
        return self.disarm() if self._left < 0 else None
