"""A roll of who lives: names, each locked by its process."""

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

LOG = logging.getLogger(__name__)

_PREFIX = "ec2map-sync-agent-"
_AGENT = "agent"
_NEW = 60.0
"""Seconds for which a directory without a lock is left alone."""


class Roll:
    """Who is there: names in a directory, each locked by its process.

    The kernel drops a lock with the process, however that ends: a name that
    is not locked is that of a dead one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._held: dict[str, IO[str]] = {}

    def enter(self, name: str) -> None:
        """Puts a name down for as long as this process lives."""
        if name not in self._held:
            file = self._path(name).open("w")
            fcntl.flock(file, fcntl.LOCK_EX)
            self._held[name] = file

    def has(self, name: str) -> bool:
        """Returns whether somebody who lives has this name."""
        try:
            with self._path(name).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.lock"


@contextmanager
def roll(state_path: Path) -> Iterator[Roll | None]:
    """Makes a roll for one run of an agent and removes it at the end.

    Whoever was killed has not done that: the next one does. It lies where
    nobody tidies up: in what systemd calls RuntimeDirectory, else in
    ``state_path``.
    """
    place = Path(os.environ.get("RUNTIME_DIRECTORY") or state_path)
    try:
        place.mkdir(exist_ok=True)
        _tidy(place)
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    except OSError as error:
        LOG.warning("nothing is counted: %s: %s", place, error.strerror)
        yield None
        return
    try:
        made = Roll(directory)
        made.enter(_AGENT)
        yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _tidy(place: Path) -> None:
    for left in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another agent is tidying up as well
            # A new one takes its lock a moment after it is made.
            new = time.time() - left.stat().st_mtime < _NEW
            if not new and not Roll(left).has(_AGENT):
                shutil.rmtree(left, ignore_errors=True)
