"""Faults that strike a process at what it does next with others."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from played.scheduler import Process, Scheduler

T = TypeVar("T")


class Fault(Enum):
    """What happens at a point where a process speaks with another machine."""

    CRASH_BEFORE = "is killed before"
    CRASH_AFTER = "is killed after"
    FAILURE = "fails at"
    SILENCE = "gets no answer to"
    """It takes effect, and nobody says so."""


@dataclass(eq=False)
class Strike:
    """A fault, and which of the points to come it waits for."""

    fault: Fault
    point: str
    """The kind of point: commit, send, acknowledge, statement, call."""
    task: str
    """The task that is struck, of its process."""
    after: int


class Broken(Exception):
    """The fault that a point turns into an error of its own kind."""


def passing(
    scheduler: Scheduler, process: Process, point: str, act: Callable[[], T]
) -> T:
    """Does something that may be struck.

    :raises Broken: it has been.
    """
    if not process.strikes:
        return act()
    task = scheduler.current
    fault = _due(process, point, task.name if task else "")
    if fault is None:
        return act()
    scheduler.trace(f"{process.name} {fault.value} {point}")
    if fault is Fault.CRASH_BEFORE:
        scheduler.kill(process)
    if fault is Fault.FAILURE:
        raise Broken
    done = act()
    if fault is Fault.CRASH_AFTER:
        scheduler.kill(process)
    if fault is Fault.SILENCE:
        raise Broken
    return done


def _due(process: Process, point: str, task: str) -> Fault | None:
    for strike in process.strikes:
        if (strike.point, strike.task) == (point, task):
            strike.after -= 1
            if strike.after < 0:
                process.strikes.remove(strike)
                return strike.fault
    return None
