"""Time, chance, threads and pipes, as the package finds them in a world.

`install` comes before the package is imported: its defaults, and those of
the libraries, then are these. Outside of tasks all is as it was.
"""

import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any

from played.scheduler import Scheduler, Task, Wrong

_real = SimpleNamespace(
    time=time.time,
    time_ns=time.time_ns,
    monotonic=time.monotonic,
    sleep=time.sleep,
    thread_time=time.thread_time,
    urandom=os.urandom,
)
_now: list[Scheduler] = []
"""The scheduler of the world that is being lived, if one is."""
_chance: list[Random] = []


def scheduler() -> Scheduler:
    """Returns who has us wait."""
    return _now[-1]


def current() -> Task | None:
    """Returns the task that runs, if any does."""
    return _now[-1].current if _now else None


def _monotonic() -> float:
    task = current()
    if task is None:
        return _now[-1].now if _now else _real.monotonic()
    return task.process.clock.monotonic(_now[-1].now)


def _time() -> float:
    task = current()
    if task is None:
        return _now[-1].now if _now else _real.time()
    return task.process.clock.time(_now[-1].now)


def _time_ns() -> int:
    return int(_time() * 1_000_000) * 1000 if _now else _real.time_ns()


def _thread_time() -> float:
    """What a task works takes none of its world's time."""
    return 0.0 if _now else _real.thread_time()


def _sleep(seconds: float) -> None:
    if current() is None:
        _real.sleep(seconds)
    else:
        scheduler().park(seconds)


def _urandom(size: int) -> bytes:
    return _chance[-1].randbytes(size) if _chance else _real.urandom(size)


def real_monotonic() -> float:
    """Returns the time on the wall of whoever watches."""
    return float(_real.monotonic())


def install() -> None:
    """Lets time and chance be the world's, once there is one."""
    time.time, time.time_ns = _time, _time_ns
    time.monotonic, time.sleep = _monotonic, _sleep
    time.thread_time = _thread_time
    os.urandom = _urandom


@contextmanager
def living(scheduler: Scheduler, seed: int) -> Iterator[None]:
    """Lets a scheduler's world be the one that is lived."""
    state = random.getstate()
    random.seed(f"chance {seed}")
    _now.append(scheduler)
    _chance.append(Random(f"bytes {seed}"))
    try:
        yield
    finally:
        _now.pop()
        _chance.pop()
        random.setstate(state)


class Event:
    """As `threading.Event`, for tasks."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Task] = []

    def is_set(self) -> bool:
        """Returns whether it is."""
        return self._set

    def set(self) -> None:
        """Wakes all who wait."""
        self._set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            scheduler().wake(task)

    def clear(self) -> None:
        """Lets the next one wait."""
        self._set = False

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it is set, or for so long."""
        if not self._set:
            task = current()
            assert task is not None
            self._waiting.append(task)
            if not scheduler().park(seconds) and task in self._waiting:
                self._waiting.remove(task)
        return self._set


class Thread:
    """As `threading.Thread`, a task of the process that starts it."""

    def __init__(
        self,
        target: Callable[[], object],
        name: str = "thread",
        daemon: bool = True,
    ) -> None:
        self._target = target
        self._name = name
        self._daemon = daemon
        self._ended = Event()

    def start(self) -> None:
        """Starts it."""
        task = current()
        assert task is not None
        scheduler().start(task.process, self._name, self._run)

    def _run(self) -> None:
        try:
            self._target()
        except Exception as error:
            raise Wrong(f"thread {self._name!r} has died") from error
        self._ended.set()

    def is_alive(self) -> bool:
        """Returns whether it has not ended."""
        return not self._ended.is_set()

    def join(self, seconds: float | None = None) -> None:
        """Waits until it has ended."""
        self._ended.wait(seconds)


THREADING = SimpleNamespace(
    Event=Event,
    Thread=Thread,
    Lock=threading.Lock,  # nobody is switched away from while holding one
    RLock=threading.RLock,
    Semaphore=threading.Semaphore,
    local=threading.local,
    get_ident=threading.get_ident,
)


class Pipes:
    """As os.pipe2 and select, for `running.loop.Wake`."""

    O_NONBLOCK, O_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC

    def __init__(self) -> None:
        self._names = count(1000, 2)
        self._events: dict[int, Event] = {}

    def pipe2(self, _flags: int) -> tuple[int, int]:
        """Makes one."""
        read = next(self._names)
        self._events[read] = Event()
        return read, read + 1

    def write(self, end: int, data: bytes) -> int:
        """Lets its other end be read."""
        self._events[end - 1].set()
        return len(data)

    def read(self, end: int, _size: int) -> bytes:
        """Empties it."""
        self._events[end].clear()
        return b"!"

    def close(self, end: int) -> None:
        """Gives it back."""
        self._events.pop(end, None)

    def select(
        self, ends: list[int], _w: list[int], _x: list[int], seconds: float
    ) -> None:
        """Waits until there is something to read, or for so long."""
        self._events[ends[0]].wait(seconds)


def _hostname() -> str:
    task = current()
    return task.process.host if task else socket.gethostname()


def _exit(_code: int) -> None:
    task = current()
    assert task is not None
    scheduler().kill(task.process)


def possess() -> None:
    """Lets the package's modules wait as tasks do."""
    import kombu.utils.functional as retrying

    from ec2map_sync.agent import parts, services
    from ec2map_sync.running import loop

    for name, module in sorted(sys.modules.items()):
        known = getattr(module, "threading", None)
        if name.startswith("ec2map_sync.") and known is threading:
            _put(module, "threading", THREADING)
    pipes = Pipes()
    _put(loop, "os", pipes)
    _put(loop, "select", pipes)
    _put(parts, "socket", SimpleNamespace(gethostname=_hostname))
    _put(services, "os", SimpleNamespace(_exit=_exit))
    _put(retrying, "sleep", _sleep)
    unhurry()


UNHURRIED = {
    "ec2map_sync.agent.parts": {"POLL": 8.0},
    "ec2map_sync.agent.health": {"REPORT_INTERVAL": 15.0},
    "ec2map_sync.agent.services": {
        "POLL": 8.0,
        "WATCH": 30.0,
        "GATE_POLL": 2.0,
        "BOOKKEEPING": 19.0,
        "LOOKOUT": 900.0,
        "PATIENCE": 5.0,
    },
    # Whoever reports every 15 s, at the end of a step that waits for 5 s.
    "ec2map_sync.monitor.status": {"SILENT_AFTER": 25.0},
    "ec2map_sync.peers.bus": {"SILENCE": 20.0},
    "ec2map_sync.running.threads": {"BEAT_INTERVAL": 15.0},
}
"""What the package does by polling, in seconds; whoever is woken does not
wait for it."""


def unhurry() -> None:
    """Lets idle services look more seldom, so that more days pass."""
    from ec2map_sync.agent.parts import Parts

    for name, values in UNHURRIED.items():
        for key, value in values.items():
            assert isinstance(getattr(sys.modules[name], key), float)
            _put(sys.modules[name], key, value)
    interval = UNHURRIED["ec2map_sync.agent.parts"]["POLL"]
    Parts.loop.__kwdefaults__["interval"] = interval


def _put(module: Any, name: str, value: object) -> None:
    setattr(module, name, value)
