"""The one loop that every service runs: step, wait to be woken, again."""

import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ec2map_sync.running import counters

LOG = logging.getLogger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 6.0
"""Seconds between attempts while a broker or a database is away."""

SAY_AGAIN = 30.0
"""Seconds after which another trouble in the place of one gets a line."""


class Wake:
    """Wakes a loop, also one in another process that was forked later.

    A lost wake-up costs nothing but the loop's poll interval.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def set(self) -> None:
        """Wakes whoever waits, or the next who will."""
        # If it is full, there are wake-ups enough that nobody has read.
        with suppress(BlockingIOError):
            os.write(self._write, b"!")

    def wait(self, seconds: float) -> None:
        """Waits until woken, or for so long."""
        select.select([self._read], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._read, 65536)

    def close(self) -> None:
        """Gives the pipe back."""
        os.close(self._read)
        os.close(self._write)


class Nudge:
    """Wakes a loop of the same process; needs nothing to be given back."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.woken = False
        """Whether the last wait came to its end by `set`."""

    def set(self) -> None:
        """Wakes whoever waits, or the next who will."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Waits until woken, or for so long."""
        self.woken = self._event.wait(seconds)
        self._event.clear()


class Pause:
    """Growing pauses, and one line in the log when trouble starts or ends.

    ``describe`` says an outage in one line, and None for anything else;
    ``cause_of`` names in a word who has failed.
    """

    def __init__(
        self,
        name: str,
        describe: Callable[[Exception], str | None],
        cause_of: Callable[[Exception], str],
    ) -> None:
        self._name = name
        self._describe = describe
        self._cause_of = cause_of
        self._seconds = FIRST_PAUSE
        self._said = ""
        self._said_at = 0.0
        self.trouble: str | None = None
        """What is waited for, if anything."""

    def after(self, error: Exception) -> float:
        """Returns the seconds to wait after an error; logs what is new."""
        text = self._describe(error)
        cause = "mistake" if text is None else self._cause_of(error)
        counters.RETRIES.add(1, self._name, cause)
        if text is None:
            # Not an outage but a mistake of ours: say where.
            LOG.error("%s failed, and tries again", self._name, exc_info=error)
        elif self._is_worth_a_line(error, text):
            LOG.warning("%s waits and tries again: %s", self._name, text)
        self.trouble = text or f"{type(error).__name__}: {error}"
        seconds = self._seconds * random.uniform(0.8, 1.2)
        self._seconds = min(2 * self._seconds, LONGEST_PAUSE)
        return seconds

    def _is_worth_a_line(self, error: Exception, text: str) -> bool:
        """Returns whether trouble is new, or has been another for some time.

        A broker that stops answers in three ways within a second.
        """
        now = time.monotonic()
        soon = getattr(error, "at_once", False)
        late = now - self._said_at >= SAY_AGAIN
        again = text != self._said and (soon or late)
        if self.trouble is not None and not again:
            return False
        self._said, self._said_at = text, now
        return True

    def over(self) -> None:
        """Forgets the trouble: a step has succeeded."""
        if self.trouble is not None:
            LOG.info("%s goes on", self._name)
            self.trouble = None
            self._seconds = FIRST_PAUSE


class Loop:
    """Calls ``step`` for ever, at once while it answers True.

    Whatever a step raises, it is called again after a growing pause: a
    service that ends would only be started anew, with less patience.
    ``prepare`` has to succeed once, first; ``release`` drops what a step
    holds, after an error and at the end; ``report`` is told how each step
    ended.
    ``describe`` and ``cause_of`` are those of `Pause`.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], bool | None],
        *,
        wake: Wake | Nudge | None = None,
        interval: float,
        describe: Callable[[Exception], str | None],
        cause_of: Callable[[Exception], str] = lambda _error: "other",
        prepare: Callable[[], None] = lambda: None,
        release: Callable[[], None] = lambda: None,
        report: Callable[[str | None], None] = lambda _error: None,
    ) -> None:
        self.name = name
        self._step = step
        self._wake = wake or Wake()
        self._interval = interval
        self._prepare = prepare
        self._release = release
        self._report = report
        self._pause = Pause(name, describe, cause_of)
        self._ready = False
        self._stopping = threading.Event()

    def run(self) -> None:
        """Runs until `stop`; a step that has begun is finished."""
        while not self._stopping.is_set():
            error = self._attempt()
            # Not while the error is being handled: oslo.log would add it
            # to the line.
            if error is not None:
                seconds = self._pause.after(error)
                self._report(self._pause.trouble)
                self._stopping.wait(seconds)
        self._release()

    def stop(self) -> None:
        """Ends the loop after the present step."""
        self._stopping.set()
        self._wake.set()

    def _attempt(self) -> Exception | None:
        """Does a step and waits for the next; gives the error instead."""
        try:
            if not self._ready:
                self._prepare()
                self._ready = True
            more = self._step()
        except Exception as error:  # noqa: BLE001, said and tried again
            self._release()
            return error
        self._pause.over()
        self._report(None)
        if not more and not self._stopping.is_set():
            self._wake.wait(self._interval)
        return None
