"""What faults are done to, and who has hold of what."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import amqp.exceptions
import pymysql
import sqlalchemy as sa
from announcer import Announced, Announcer
from chaos_stand import Stand
from checker import Finding, Watch

AWAY = (
    amqp.exceptions.AMQPError,
    OSError,
    pymysql.err.Error,
    sa.exc.DBAPIError,
)
"""What is said when a server is away, by whatever else was done to it."""


class NotDone(Exception):
    """A fault was not done: there was nobody to do it to."""


@dataclass
class Ground:
    """The stand, who announces there, and what was found on the way."""

    stand: Stand
    announced: Announced
    announcers: Mapping[str, Announcer]
    watch: Watch
    findings: list[Finding] = field(default_factory=list)
    done_in_round: set[str] = field(default_factory=set)
    """What may be done once between two quiet moments."""
    ending: threading.Event = field(default_factory=threading.Event)
    """Set when all is to end at once."""
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sleep(self, seconds: float) -> None:
        """Let time go by, unless all is to end."""
        self.ending.wait(seconds)

    @contextmanager
    def alone(self, *names: str, seconds: float = 4.0) -> Iterator[None]:
        """Let nobody else do anything to these meanwhile.

        :raises NotDone: somebody else does for too long.
        """
        taken: list[threading.Lock] = []
        until = time.monotonic() + seconds
        try:
            for name in sorted(names):
                with self._lock:
                    lock = self._locks.setdefault(name, threading.Lock())
                left = max(0.0, until - time.monotonic())
                if not lock.acquire(timeout=left):
                    raise NotDone(f"{name} is in other hands")
                taken.append(lock)
            yield
        finally:
            for lock in taken:
                lock.release()

    def once(self, what: str) -> None:
        """Say that something is done, which may be once in a round.

        :raises NotDone: it was.
        """
        with self._lock:
            if what in self.done_in_round:
                raise NotDone(f"{what}: once in a round")
            self.done_in_round.add(what)

    def edited(self, region: str) -> None:
        """Note that a region's ledger or cell was changed by hand."""
        self.watch.edited[region] = time.monotonic()

    @property
    def backups(self) -> Path:
        """Where backups of ledgers lie."""
        place = self.stand.directory / "backups"
        place.mkdir(exist_ok=True)
        return place
