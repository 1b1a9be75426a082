"""How a region is: services, peers, sinks, quarantine, all of it measured."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ec2map_sync.ledger import (
    PUBLISHING,
    Head,
    Ledger,
    ServiceState,
)
from ec2map_sync.ledger.queries import Backlog
from ec2map_sync.monitor.canaries import canary_views
from ec2map_sync.monitor.views import (
    SILENT_AFTER,
    TOLERATED,
    claims_differing,
    peer_views,
    seconds_since,
)
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.names import LoopName, writer_of
from ec2map_sync.rules.stamps import BadStamp, next_stamp
from ec2map_sync.settings.values import Bus

FORGOTTEN_AFTER = 86_400.0
"""Seconds after which a host that is gone is no longer listed."""
SECOND_LOOK = 1.0
"""Seconds between the two looks that tell a moving reader from a stuck one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was looked at; None is what is not known."""

    what: str
    name: str
    state: str
    healthy: bool = True
    position: Stamp | int | None = None
    lag: int | None = None
    lag_seconds: float | None = None
    last_error: str | None = None


class Examination:
    """Looks at everything once.

    ``sinks`` are the names of the sinks, ``expected`` the loops that there
    should be; ``clock`` gives stamps, ``sleep`` waits between two looks.
    """

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        sinks: Iterable[str],
        *,
        expected: Iterable[LoopName],
        clock: Callable[[], Stamp],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._bus = bus
        self._sinks = tuple(sinks)
        self._expected = tuple(map(str, expected))
        self._clock = clock
        self._sleep = sleep

    def lines(self) -> list[Line]:
        """Returns a line for each thing."""
        head = self._ledger.head()
        services = self._ledger.journal.service_states()
        return [
            *_ledger_lines(self._bus.region, head, self._clock()),
            self._copies_line(),
            *self._service_lines(services),
            *self._peer_lines(head),
            *self._canary_lines(),
            *self._reader_lines(services),
            self._quarantine_line(),
        ]

    def _service_lines(self, states: Sequence[ServiceState]) -> list[Line]:
        now = self._clock()
        hosts = {s.host for s in states if not _gone(s, now)}
        lines = []
        for name in self._expected:
            there = [s for s in states if s.name == name]
            # One who has been gone for long is missed only if alone.
            shown = [s for s in there if not _gone(s, now)] or there[:1]
            lines += [_service(s, now, several=len(hosts) > 1) for s in shown]
            if not shown:
                lines.append(_unheard(name))
        others = [
            s
            for s in states
            if s.name not in self._expected and not _gone(s, now)
        ]
        lines += [
            _service(s, now, several=len(hosts) > 1, optional=True)
            for s in others
        ]
        return lines

    def _peer_lines(self, head: Head) -> list[Line]:
        lines = []
        for view in peer_views(self._ledger, self._bus, self._clock()):
            lines.append(
                Line(
                    what="peer",
                    name=view.name,
                    state=view.state,
                    healthy=view.healthy or view.state == "not configured",
                    position=view.known.agrees_until,
                    lag=claims_differing(view, head.total.count),
                    lag_seconds=view.heartbeat_age,
                    last_error=view.refused or view.known.clock,
                )
            )
        return lines

    def _canary_lines(self) -> list[Line]:
        views = canary_views(self._ledger, self._bus, self._clock())
        return [
            Line(
                what="canary",
                name=view.peer,
                state=view.state,
                healthy=view.healthy,
                position=view.made_at,
                lag_seconds=view.back_after,
            )
            for view in views
        ]

    def _reader_lines(self, services: Sequence[ServiceState]) -> list[Line]:
        readers = [
            (sink, "sink", str(writer_of(sink)), self._numbers_after)
            for sink in self._sinks
        ]
        if self._bus.publishes:
            readers.append(
                (PUBLISHING, "publisher", PUBLISHING, self._claims_after)
            )
        before = self._ledger.queries.cursors()
        waiting = {
            name: count(before.get(name, 0)) for name, _, _, count in readers
        }
        after = before
        if any(backlog.count for backlog in waiting.values()):
            self._sleep(SECOND_LOOK)
            after = self._ledger.queries.cursors()
        return [
            self._reader(
                what=what,
                name=name,
                cursors=(before.get(name), after.get(name)),
                backlog=count(after.get(name, 0)),
                service=[s for s in services if s.name == loop],
            )
            for name, what, loop, count in readers
        ]

    def _reader(
        self,
        *,
        what: str,
        name: str,
        cursors: tuple[int | None, int | None],
        backlog: Backlog,
        service: Sequence[ServiceState],
    ) -> Line:
        now = self._clock()
        age = seconds_since(backlog.oldest, now)
        works = any(s.working and not _late(s, now) for s in service)
        before, after = cursors
        if after is None:
            state, healthy = "not begun", False
        elif not backlog.count:
            state, healthy = "up to date", True
        elif before != after:
            state, healthy = "catching up", True
        else:
            state = "behind"
            healthy = works and age is not None and age < TOLERATED
        errors = [s.last_error for s in service if not s.working]
        return Line(
            what=what,
            name=self._bus.exchange if what == "publisher" else name,
            state=state,
            healthy=healthy,
            position=after,
            lag=backlog.count,
            lag_seconds=age if backlog.count else 0.0,
            last_error=errors[0] if errors else None,
        )

    def _copies_line(self) -> Line:
        state = self._ledger.copies.state()
        word = "as the rows say" if state.completed_at else "not looked at yet"
        return Line(
            what="copies",
            name=self._bus.region,
            state="being put right" if state.doubtful else word,
            healthy=not state.doubtful,
            position=state.completed_at,
            lag=state.found,
            lag_seconds=seconds_since(state.last_found_at, self._clock())
            if state.last_found_at
            else None,
            last_error=state.last_found,
        )

    def _quarantine_line(self) -> Line:
        count = self._ledger.quarantine.count()
        newest = self._ledger.quarantine.newest(1)
        dropped = sum(self._ledger.quarantine.dropped().values())
        state = "look at it" if count else "empty"
        return Line(
            what="quarantine",
            name="quarantine",
            state=f"{state}, {dropped} were dropped" if dropped else state,
            lag=count,
            lag_seconds=seconds_since(newest[0].at, self._clock())
            if newest
            else None,
            last_error=newest[0].reason if newest else None,
        )

    def _numbers_after(self, revision: int) -> Backlog:
        return self._ledger.queries.numbers_after(revision)

    def _claims_after(self, revision: int) -> Backlog:
        return self._ledger.queries.own_claims_after(revision)


def _ledger_lines(region: str, head: Head, now: Stamp) -> list[Line]:
    trouble: str | None = None
    try:
        next_stamp(head.last_stamp, now, head.clock)
    except BadStamp as error:
        trouble = str(error)
    return [
        Line(
            what="ledger",
            name=region,
            state="stamped ahead" if trouble else "reachable",
            healthy=trouble is None,
            position=head.revision,
            last_error=trouble,
        ),
        Line(
            what="claims", name=region, state="held", position=head.total.count
        ),
    ]


def _late(state: ServiceState, now: Stamp) -> bool:
    age = seconds_since(state.seen_at, now)
    return age is None or age > SILENT_AFTER


def _gone(state: ServiceState, now: Stamp) -> bool:
    return now - state.seen_at > FORGOTTEN_AFTER * 1_000_000


def _service(
    state: ServiceState, now: Stamp, *, several: bool, optional: bool = False
) -> Line:
    """Says how a loop is; an ``optional`` one may be gone, as a cell may."""
    word = "works" if state.working else "waits"
    if _late(state, now):
        word = "gone" if optional else "silent"
    return Line(
        what="service",
        name=f"{state.name}@{state.host}" if several else state.name,
        state=word,
        healthy=word in {"works", "gone"},
        position=state.seen_at,
        lag_seconds=seconds_since(state.seen_at, now),
        last_error=state.last_error,
    )


def _unheard(name: str) -> Line:
    return Line(what="service", name=name, state="never heard", healthy=False)
