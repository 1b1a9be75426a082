"""Who runs when: tasks that take turns in one thread, in virtual time.

A task is a greenlet. Whatever would wait, or speak with another machine,
parks its task; the scheduler goes on with what is due next. Between two
switches no time passes, so that a seed is one history, always the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

from greenlet import greenlet

BEGIN = 1_800_000_000.0
"""Seconds since 1970 at which every history begins."""


class Wrong(AssertionError):
    """A history has broken a guarantee."""


@dataclass
class Clock:
    """A host's clocks: one that is set, and one that only runs.

    Both may run too fast or too slowly; a step moves the first alone.
    """

    rate: float = 1.0
    ahead: float = 0.0
    """Seconds by which the wall clock was ahead when it was last set."""
    set_at: float = BEGIN
    booted: float = BEGIN - 1000.0

    def time(self, now: float) -> float:
        """Returns what the host takes for the time."""
        return self.set_at + self.ahead + (now - self.set_at) * self.rate

    def step(self, now: float, seconds: float) -> None:
        """Sets the wall clock, by so much."""
        self.ahead += seconds + (now - self.set_at) * (self.rate - 1)
        self.set_at = now

    def set_right(self, now: float) -> None:
        """Sets the wall clock right, as time servers do."""
        self.ahead, self.set_at = 0.0, now

    def monotonic(self, now: float) -> float:
        """Returns the seconds since the host was booted."""
        return (now - self.booted) * self.rate


@dataclass(eq=False)
class Process:
    """Something that dies as a whole: tasks, connections, memory."""

    name: str
    clock: Clock
    host: str = ""
    alive: bool = True
    at_death: list[Callable[[], None]] = field(default_factory=list)
    tasks: list["Task"] = field(default_factory=list)
    strikes: list[Any] = field(default_factory=list)
    """Faults that wait for their moment, see `faults`."""


class Task:
    """A greenlet of a process."""

    def __init__(
        self, process: Process, name: str, run: Callable[[], object]
    ) -> None:
        self.process = process
        self.name = name
        self.epoch = 0
        """Which wait it is in: what wakes an earlier one comes too late."""
        self.greenlet = greenlet(run)
        self.done = False


class Scheduler:
    """Virtual time, and what is due when."""

    def __init__(self, seed: int) -> None:
        self.now = BEGIN
        self.rng = Random(f"scheduler {seed}")
        self.current: Task | None = None
        self.switches = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._until = BEGIN
        """Until when whoever runs the world lets it go on."""
        self._hub = greenlet.getcurrent()
        self._digest = hashlib.blake2b(digest_size=16)
        self.log: list[str] | None = None
        self.missed: list[str] = []
        """What audits of sinks have said of rows that should be there."""
        self.blind = False
        """Whether a gate was opened without having heard from all, or may
        have been by what was a lie."""
        self.unnoticed = False
        """Whether a ledger was restored of which its hosts cannot know."""
        self.mistakes: list[str] = []
        """What the package has logged as an error of its own."""

    # The trace.

    def trace(self, text: str) -> None:
        """Notes something that has happened."""
        line = f"{self.now - BEGIN:.6f} {text}"
        self._digest.update(line.encode())
        if self.log is not None:
            self.log.append(line)

    @property
    def fingerprint(self) -> str:
        """A hash of all that has happened so far."""
        return self._digest.copy().hexdigest()

    # What is due.

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Does something at a time; what is due together keeps its order."""
        self._count += 1
        heappush(self._due, (max(when, self.now), self._count, act))

    def run(self, until: float) -> None:
        """Lets the world go on until a time."""
        assert self.current is None, "only the hub runs the world"
        self._until = until
        while self._due and self._due[0][0] <= until:
            when, _, act = heappop(self._due)
            self.now = max(self.now, when)
            act()
        self.now = max(self.now, until)

    def leap(self, seconds: float) -> None:
        """Lets every machine stand still for so long, clocks alone go on."""
        self.now += seconds

    # Tasks.

    def start(
        self, process: Process, name: str, run: Callable[[], object]
    ) -> Task:
        """Starts a task of a process, as soon as it is its turn."""

        def whole(_woken: bool) -> None:
            run()
            task.done = True

        task = Task(process, name, whole)
        task.greenlet.parent = self._hub
        process.tasks.append(task)
        self._resume_later(self.now, task, woken=True)
        return task

    def _resume_later(self, when: float, task: Task, woken: bool) -> None:
        epoch = task.epoch

        def resume() -> None:
            if task.epoch != epoch or not task.process.alive or task.done:
                return
            task.epoch += 1
            self.switches += 1
            self.current = task
            try:
                task.greenlet.switch(woken)
            finally:
                self.current = None

        self.at(when, resume)

    def park(self, seconds: float | None = None) -> bool:
        """Waits to be woken, or for so long; tells whether it was woken.

        ``seconds`` are those of the host's own clock.
        """
        task = self.current
        assert task is not None, "only a task waits"
        if seconds is not None:
            when = self.now + max(0.0, seconds) / task.process.clock.rate
            if self._is_next(when):
                # Nobody else would run meanwhile: no need to switch.
                self.now = when
                self.switches += 1
                return False
            self._resume_later(when, task, False)
        return bool(self._hub.switch())

    def _is_next(self, when: float) -> bool:
        """Returns whether nothing is due up to then, nor anybody waits."""
        return when <= self._until and not (
            self._due and self._due[0][0] <= when
        )

    def wake(self, task: Task) -> None:
        """Lets a task that is parked go on."""
        self._resume_later(self.now, task, woken=True)

    def travel(self) -> float:
        """Returns how long something takes from here to elsewhere."""
        dice = self.rng.random()
        if dice < 0.97:
            return 0.0002 + 0.002 * dice
        return 0.01 + 0.4 * self.rng.random()

    def kill(self, process: Process) -> None:
        """Ends a process as kill -9 does: it does nothing more at all.

        Its tasks are left where they are; called by the task itself, this
        does not return.
        """
        if not process.alive:
            return
        process.alive = False
        self.trace(f"{process.name} is killed")
        ends, process.at_death = process.at_death, []
        for end in ends:
            end()
        if self.current is not None and self.current.process is process:
            self._hub.switch()
