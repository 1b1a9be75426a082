"""A loop for each sink, its audit, and what Nova is to forget."""

import time

from ec2map_sync.agent.parts import Parts, loop_of
from ec2map_sync.rules import names
from ec2map_sync.rules.names import sink_of
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running.loop import Loop
from ec2map_sync.running.threads import Fan, Threads
from ec2map_sync.settings.values import Cell, NovaApi
from ec2map_sync.sinks import Sink
from ec2map_sync.sinks.audit import SinkAuditor, Sweep
from ec2map_sync.sinks.cells import Roster
from ec2map_sync.sinks.memos import MemoWorker
from ec2map_sync.sinks.writer import Writer

MEMO_POLL = 0.25
"""Seconds between two looks whether Nova's memos are to be deleted."""

FAN_INTERVAL = 3600.0
"""Seconds between two wake-ups of all sinks without a cause: they poll."""


class Writers:
    """A loop for each sink; those of cells may come and go."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.region = parts.region
        self._fan = Fan()
        self._loops: dict[str, list[Loop]] = {}
        self._gate = parts.gate()
        wake_ups = loop_of(
            "wake-ups",
            self._fan.step,
            wake=parts.host.writer,
            interval=FAN_INTERVAL,
        )
        self.threads = Threads([wake_ups])

    def start_cell(self, cell: Cell) -> None:
        """Lets a cell be written."""
        self.start(self.region.cell(cell))

    def end_cell(self, cell: Cell) -> None:
        """Lets a cell that is gone be forgotten."""
        sink = sink_of(cell.name)
        self._fan.forget(sink)
        for loop in self._loops.pop(sink, []):
            self.threads.end(loop)
        self._parts.ledger.cursors.forget(sink)

    def follow_cells(self, api: NovaApi) -> None:
        """Lets every cell be written that Nova has."""
        roster = Roster(
            self.region.open(api.url, "[nova] api_connection"),
            api.template,
            start=self.start_cell,
            end=self.end_cell,
        )
        self.threads.add(
            self._parts.loop(names.CELLS, roster.step, interval=api.interval)
        )

    def start(self, sink: Sink) -> None:
        """Lets a sink be written, and audited."""
        worker = self.region.writer(sink)
        self._loops[sink.name] = [
            self._writing(sink, worker),
            self._auditing(sink, worker),
            *self._forgetting(sink),
        ]
        for loop in self._loops[sink.name]:
            self.threads.add(loop)

    def _writing(self, sink: Sink, worker: Writer) -> Loop:
        nudge = self._fan.nudge(sink.name)
        return self._parts.loop(
            names.writer_of(sink.name),
            # Behind the gate: what a restored ledger is told before it has
            # compared may settle otherwise than all that it has lost.
            lambda: self._gate.is_open() and worker.step(woken=nudge.woken),
            wake=nudge,
            release=sink.close,
        )

    def _auditing(self, sink: Sink, worker: Writer) -> Loop:
        parts = self._parts
        auditor = SinkAuditor(
            Sweep(
                parts.ledger,
                sink,
                worker,
                asking=lambda: self.region.gate(time.monotonic()).is_open,
            ),
            sink.name,
            # Not while the Writer fills a new sink, nor beside another
            # host's: what is missing then is not amiss.
            may_begin=lambda: self._gate.is_open() and worker.caught_up,
            interval=parts.config.sink_audit_interval,
        )
        return parts.loop(names.audit_of(sink.name), auditor.step)

    def _forgetting(self, sink: Sink) -> list[Loop]:
        """Returns the loop that deletes Nova's memos, where it has some."""
        parts = self._parts
        servers = parts.config.memcached(sink.name)
        if not servers:
            return []
        memos = MemoWorker(
            parts.ledger,
            sink,
            servers,
            tls=parts.config.memcached_tls(sink.name),
            clock=wall_clock,
        )
        name = names.memo_of(sink.name)
        return [parts.loop(name, memos.step, interval=MEMO_POLL)]
