"""Somebody who asks a region all the time how it is, and believes it."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from commands import run_program
from fleet import Region
from patience import POLL_SECONDS, wait_until, within

SAYS_SO = 10.0
"""Seconds within which /readyz and `status` are to tell what is so."""

_PACES = {"/readyz": (POLL_SECONDS, 0.3), "status": (1.0, 8.0)}
"""Seconds between two questions, until one is answered as expected, and from
then on."""


@dataclass
class _Phase:
    """A time during which nothing changes."""

    good: bool | None
    """None while it does."""
    seen: dict[str, str] = field(default_factory=dict)
    """What each has said, once it was right."""
    others: dict[str, str] = field(default_factory=dict)


def readiness(port: int) -> tuple[int, str]:
    """Give what /readyz says."""
    url = f"http://127.0.0.1:{port}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=within(10)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, "nobody answers"


class Observer:
    """Asks /readyz, and more seldom `status`, while a region lives.

    From a change on they have a while to tell of it; once they have, another
    answer is one too many, until the next change.
    """

    def __init__(self, region: Region, port: int) -> None:
        self._region = region
        self._port = port
        self._phase = _Phase(None)
        self.lies: list[str] = []
        self._stopping = threading.Event()

    def expect_good(self, seconds: float = SAYS_SO) -> None:
        """Wait until both say so; from now on they must."""
        self._expect(_Phase(good=True), seconds)

    def expect_bad(self) -> str:
        """Wait until both say so, as they must from now on; what is said."""
        phase = _Phase(good=False)
        self._expect(phase, SAYS_SO)
        return phase.seen["/readyz"]

    def leave(self) -> None:
        """Expect nothing until the next time."""
        self._phase = _Phase(None)

    def _expect(self, phase: "_Phase", seconds: float) -> None:
        self._phase = phase
        try:
            wait_until(lambda: len(phase.seen) == len(_PACES), seconds)
        except TimeoutError:
            raise AssertionError(
                f"good ({phase.good}) only in {phase.seen}; {phase.others}"
            ) from None
        assert not self.lies

    def _ask(self, name: str, ask: Callable[[], tuple[bool, str]]) -> None:
        phase = self._phase
        good, text = ask()
        if phase is not self._phase or phase.good is None:
            return
        if good is phase.good:
            phase.seen[name] = text
        elif name in phase.seen:
            self.lies.append(f"{name}, not {phase.good}: {text!r}")
        else:
            phase.others[name] = text

    def _readyz(self) -> tuple[bool, str]:
        status, text = readiness(self._port)
        return status == 200, text

    def _status(self) -> tuple[bool, str]:
        config = "--config-file", str(self._region.config_file)
        done = run_program("status", "-f", "json", *config)
        assert done.code in {0, 1}, done
        lines = json.loads(done.stdout)
        return done.code == 0, str(
            [one for one in lines if one["state"] not in {"works", "held"}]
        )

    def _run(self, name: str, ask: Callable[[], tuple[bool, str]]) -> None:
        soon, late = _PACES[name]
        seconds = soon
        while not self._stopping.wait(seconds):
            self._ask(name, ask)
            seconds = late if name in self._phase.seen else soon

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Ask until the end; nothing may have been said that was not so."""
        threads = [
            threading.Thread(target=self._run, args=args, daemon=True)
            for args in (("/readyz", self._readyz), ("status", self._status))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()
        assert not self.lies
