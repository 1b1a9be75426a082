"""systemd's watchdog: told that the agent works as long as it does."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

LOG = logging.getLogger(__name__)

_INFINITE = 2**64 - 1
"""Microseconds, as systemd writes that there is no limit."""


class Sentry:
    """Tells systemd that all is well, unless a process is silent.

    Who has been silent for half of systemd's ``seconds`` counts; systemd ends
    the agent, and starts it anew, ``seconds`` after it was last told. The
    protocol is that of sd_notify(3): a datagram.
    """

    def __init__(
        self,
        address: str,
        seconds: float,
        silent: Callable[[float], Sequence[str]],
    ) -> None:
        # "@" stands for a name that is in no directory.
        self._address = address.replace("@", "\0", 1)
        self._seconds = seconds
        self._silent = silent
        self._said = ""

    @property
    def interval(self) -> float:
        """Seconds between two steps: one may come late."""
        return self._seconds / 4

    def step(self) -> None:
        """Tells systemd, or the log why it does not."""
        trouble = ""
        if found := self._silent(self._seconds / 2):
            trouble = f"nothing is heard of {', '.join(found)}"
        else:
            try:
                self._tell()
            except OSError as error:
                trouble = f"{error.strerror or error}"
        if trouble and trouble != self._said:
            LOG.error("systemd's watchdog is not told: %s", trouble)
        self._said = trouble

    def start(self) -> None:
        """Steps until the process ends."""
        threading.Thread(
            target=self._run, name="watchdog", daemon=True
        ).start()

    def _run(self) -> None:
        while True:
            self.step()
            time.sleep(self.interval)

    def _tell(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            # Should systemd not read, the next step tells again.
            speaker.setblocking(False)
            speaker.sendto(b"WATCHDOG=1", self._address)


def sentry(
    environ: Mapping[str, str], silent: Callable[[float], Sequence[str]]
) -> Sentry | None:
    """Returns what tells systemd's watchdog, if it waits for this process.

    As sd_watchdog_enabled(3) has it.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    microseconds = _positive(environ.get("WATCHDOG_USEC", ""))
    meant = environ.get("WATCHDOG_PID", str(os.getpid()))
    if not address or not microseconds or meant != str(os.getpid()):
        return None
    return Sentry(address, microseconds / 1_000_000, silent)


def _positive(text: str) -> int:
    """Reads a number; 0 for what is none, or stands for no time limit."""
    number = int(text) if text.isdecimal() else 0
    return number if number < _INFINITE else 0
