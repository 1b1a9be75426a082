"""What a kind of fault is: what is done, and what ends it.

A kind is a generator: what is before its `yield` does the fault, what is
behind ends it. It yields what it was done to. Where only the end tells
whether anybody was hit, it says `NotDone` there, and nothing is counted.
"""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from chaos_stand import Host
from ground import Ground, NotDone
from patience import wait_until

Cause = Callable[[Ground, Random, float], Iterator[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how often there is one, and how long it lasts."""

    name: str
    weight: float
    lasts: tuple[float, float]
    cause: Cause
    settles: float = 0.0
    """Seconds that its end needs until all is quiet, beyond the usual."""


KINDS: dict[str, Kind] = {}


def kind(
    name: str,
    weight: float,
    lasts: tuple[float, float] = (0.0, 0.0),
    settles: float = 0.0,
) -> Callable[[Cause], Cause]:
    """Make a function a kind of fault."""

    def made(cause: Cause) -> Cause:
        KINDS[name] = Kind(name, weight, lasts, cause, settles)
        return cause

    return made


def drawn(ground: Ground, chance: Random) -> Host:
    """Draw a host."""
    return chance.choice(ground.stand.hosts)


def running(host: Host) -> None:
    """Make sure that a host's agent is there.

    :raises NotDone: it is not.
    """
    if not host.runs:
        raise NotDone(f"{host.name} does not run")


def state_of(pid: int) -> str:
    """Tell the state of a process, as the kernel has it; "" if it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]
    return ""


def halt(pids: list[int]) -> list[int]:
    """Stop processes; those that do stand still."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(state_of(p) in {"T", "", "Z"} for p in pids), 5)
    return [pid for pid in pids if state_of(pid) == "T"]


def wake(pids: list[int]) -> None:
    """Let processes go on."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def let_write(pid: int, size: int) -> bool:
    """Let a process write no file longer than so; whether it was there."""
    with suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
        return True
    return False
