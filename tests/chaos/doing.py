"""Does what the plan says, counts what was done, and judges at each rest."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from subprocess import TimeoutExpired
from threading import Event as Flag, Lock, Thread

from announcer import Announcer, rivals
from checker import STATUS, UNRULY, Checker, Finding, Logs, asked
from ground import AWAY, Ground, NotDone
from patience import within
from plan import Event, Plan

QUIET = 60.0
"""Seconds, on a machine with nothing else to do, in which all is to be as it
must be after the last fault has ended."""
LOOK_EVERY = 3.0
AT_ONCE = 16
"""Faults that last at the same time, at most."""
UNSAID = "unsaid"
RIVALS_EVERY = 30.0
SHOWN = 25


@dataclass
class Tally:
    """What was done, and what was seen."""

    done: Counter[str] = field(default_factory=Counter)
    not_done: Counter[str] = field(default_factory=Counter)
    why_not: Counter[str] = field(default_factory=Counter)
    history: list[str] = field(default_factory=list)
    rests: list[float] = field(default_factory=list)
    """Seconds from the end of the last fault until all was in order."""
    seconds: float = 0.0
    moves: int = 0


class Chaos:
    """A run: rounds of faults, each with a rest and a verdict."""

    def __init__(
        self,
        ground: Ground,
        plan: Plan,
        quiet: float,
        say: Callable[[str], None],
    ) -> None:
        """Be given ``quiet``: the seconds in which all is to be in order."""
        self.tally = Tally()
        self._ground = ground
        self._plan = plan
        self._quiet = quiet
        self._say = say
        regions = list(ground.stand.regions.values())
        self._regions = regions
        self._checker = Checker(regions, ground.announced)
        hosts = ground.stand.hosts
        self._logs = Logs([host.region.log_file for host in hosts])
        self._lock = Lock()
        self._looking = Flag()
        self._began = time.monotonic()
        self._rivals = rivals(Random(f"{plan.seed}/rivals"))
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="faults")

    @property
    def findings(self) -> list[Finding]:
        """What is not as it must be."""
        return self._ground.findings

    def run(self) -> None:
        """Live all rounds, or until something is found."""
        try:
            for announcer in self._ground.announcers.values():
                announcer.start()
            self._rest(self._quiet)
            self._began = time.monotonic()
            self.tally.rests.clear()
            Thread(target=self._look_again, daemon=True).start()
            number = 0
            while self._goes_on():
                number += 1
                self._round(number)
        finally:
            self._ground.ending.set()
            self._pool.shutdown(cancel_futures=True)
            for announcer in self._ground.announcers.values():
                announcer.stop()
            self.tally.seconds = time.monotonic() - self._began

    def _goes_on(self) -> bool:
        lived = time.monotonic() - self._began
        enough = self._plan.seconds - self._plan.round_seconds / 4
        return not self.findings and (not self.tally.rests or lived < enough)

    def _round(self, number: int) -> None:
        ground = self._ground
        ground.done_in_round.clear()
        self._looking.set()
        before = self.tally.done.total()
        began = time.monotonic()
        asked_for: list[Future[None]] = []
        due = began + RIVALS_EVERY / 3
        for event in self._plan.events(number):
            while (left := began + event.at - time.monotonic()) > 0:
                ground.sleep(min(left, 1))
                if time.monotonic() > due:
                    due += RIVALS_EVERY
                    self._announce_rivals()
            if self.findings:
                break
            asked_for.append(self._pool.submit(self._do, event))
        for one in asked_for:
            one.result()
        seconds = self._rest(self._patience())
        if self.findings:
            return
        done = self.tally.done.total() - before
        told = len(ground.announced.confirmed)
        self._say(
            f"round {number}: {done} faults, in order after {seconds:.0f} s; "
            f"{told} images so far, {self.tally.moves} moves"
        )

    def _announce_rivals(self) -> None:
        some = list(self._ground.announcers.values())
        for image, announcer in zip(next(self._rivals), some, strict=False):
            announcer.wanted.put(image)
        self._ground.announced.rivals += 1

    def _patience(self) -> float:
        """Tell how long the next rest may take, by what was done."""
        now = time.monotonic()
        edited = self._ground.watch.edited.values()
        settles = max(k.settles for k in self._plan.kinds)
        left = [at + settles - now for at in edited]
        return self._quiet + max([0.0, *left]) / within(1)

    def _do(self, event: Event) -> None:
        name = event.kind.name
        chance = Random(event.seed)
        at = time.monotonic() - self._began
        cause = event.kind.cause(self._ground, chance, event.lasts)
        try:
            text = next(cause)
            with suppress(StopIteration):
                next(cause)
        except NotDone as why:
            self._leave(name, str(why))
            return
        except AWAY as error:
            self._leave(name, f"{type(error).__name__} ({name})")
            return
        except TimeoutExpired as error:
            self.findings.append(Finding(UNRULY, f"{name}: {error}"))
            return
        with self._lock:
            self.tally.done[name] += 1
            until = time.monotonic() - self._began
            self.tally.history.append(
                f"{at:7.1f} s to {until:7.1f} s: {name}: {text}"
            )

    def _leave(self, name: str, why: str) -> None:
        with self._lock:
            self.tally.not_done[name] += 1
            self.tally.why_not[why] += 1

    def _rest(self, seconds: float) -> float:
        """Wait until all is as it must be, without any news."""
        self._looking.clear()
        announcers: list[Announcer] = list(self._ground.announcers.values())
        began = time.monotonic()
        until = began + within(seconds)
        silent = all(a.rest(within(10)) for a in announcers)
        found = [Finding(UNSAID, "a Glance does not come to rest")]
        while not self._ground.ending.is_set():
            if silent:
                found = self._complaints() or [
                    x for r in self._regions for x in asked(r)
                ]
            if not found or time.monotonic() > until:
                break
            self._ground.sleep(2)
        took = time.monotonic() - began
        found += self._logs.news()
        if found:
            self.findings.extend(found)
        else:
            self._checker.remember()
            self.tally.moves = self._checker.moves
            self.tally.rests.append(took)
        for announcer in announcers:
            announcer.go_on()
        return took

    def _complaints(self) -> list[Finding]:
        try:
            found = list(self._checker.complaints())
            for region in self._regions:
                for line in self._ground.watch.amiss(region.name):
                    found.append(Finding(STATUS, f"{region.name}: {line}"))
        except AWAY as error:
            return [Finding(UNSAID, str(error))]
        return found

    def _look_again(self) -> None:
        """Ask status again and again while faults last."""
        while not self._ground.ending.is_set():
            self._looking.wait(1)
            for region in self._regions:
                if not self._looking.is_set():
                    break
                with suppress(*AWAY):
                    found = list(self._ground.watch.look(region))
                    self.findings.extend(found)
                self._ground.sleep(LOOK_EVERY)
