"""The services of a region: wiring, and nothing else."""

import logging
import os
import socket
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync import bus, database, wire
from ec2map_sync.audit import Auditor
from ec2map_sync.cells import Roster
from ec2map_sync.compare import Gate
from ec2map_sync.config import Cell, Config, NovaApi, Peer
from ec2map_sync.errors import Ec2MapError
from ec2map_sync.follower import Follower
from ec2map_sync.health import Memory, Reporter
from ec2map_sync.host import Host
from ec2map_sync.images import Catalogue
from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.ledger.ledger import wall_clock
from ec2map_sync.listener import (
    Listener,
    Recorder,
    broker_url,
)
from ec2map_sync.loop import Loop, Nudge, Wake
from ec2map_sync.publisher import Answerer, Publisher
from ec2map_sync.sinks import Sink
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sweep import SinkAuditor, Sweep
from ec2map_sync.threads import Fan, Threads
from ec2map_sync.watch import Queues, Watchdog
from ec2map_sync.writer import Writer

LOG = logging.getLogger(__name__)

POLL = 1.0
"""Seconds after which other hosts' work is found, and lost wake-ups."""

GATE_POLL = 0.2
"""Seconds between two looks whether claims may be made already."""

WATCH = 5.0
"""Seconds, at most, between two looks whether the listener has stalled."""

FAN_INTERVAL = 3600.0
"""Seconds between two wake-ups of all sinks without a cause: they poll."""

PATIENCE = 0.5
"""Seconds that a Follower waits for a message before it looks up."""


class Service(Protocol):
    """What a process of the agent runs."""

    def run(self) -> None:
        """Work until stopped."""

    def stop(self) -> None:
        """Finish what has begun, soon."""


def describe(error: Exception) -> str | None:
    """Say an outage in one line; None for a mistake of ours."""
    if isinstance(error, Ec2MapError):
        return str(error)
    if isinstance(error, SQLAlchemyError):
        return f"a database does not answer: {database.describe(error)}"
    return bus.describe(error)


class Parts:
    """What one process needs to build its service from.

    Made after the fork: no connection is shared between processes.
    """

    def __init__(self, config: Config, host: Host) -> None:
        self.config = config
        self.host = host
        self.bus = config.bus
        self.engine = database.create_engine(config.ledger)
        self.ledger = Ledger(self.engine, config.scheme)
        self.memory = Memory(
            path=config.state_path / f"{self.bus.region}.ledger"
        )
        self._warned: set[str] = set()
        self.pen = wire.Pen(
            region=self.bus.region,
            scheme=config.scheme.fingerprint,
            key=self.bus.key,
            clock=wall_clock,
        )

    def trust(self, peer: Peer) -> wire.Trust:
        """Tell whom we believe as this peer."""
        return wire.Trust(
            sender=peer.name, keys=peer.keys, scheme=self.pen.scheme
        )

    def gate(self) -> Gate:
        """Make what tells whether claims may be made already."""
        return Gate(
            self.ledger,
            [peer.name for peer in self.bus.peers],
            since=self.host.started_at,
            wait=self.bus.claim_wait,
            clock=wall_clock,
        )

    def loop(
        self,
        name: str,
        step: Callable[[], bool],
        *,
        wake: Wake | Nudge | None = None,
        interval: float = POLL,
        release: Callable[[], None] = lambda: None,
    ) -> Loop:
        """Make a loop that waits for the ledger, and reports to it."""
        return Loop(
            name,
            step,
            prepare=self._prepare,
            report=Reporter(
                self.ledger, socket.gethostname(), name, clock=wall_clock
            ),
            wake=wake or Wake(),
            interval=interval,
            describe=describe,
            release=release,
        )

    def _prepare(self) -> None:
        schema.require(self.engine)
        self.check_memory()

    def check_memory(self) -> None:
        """Notice a ledger that was restored, before anything is done."""
        try:
            self.memory.check(self.ledger)
        except OSError as error:
            self._warn_once(
                f"[DEFAULT] state_path: {self.memory.path}: {error.strerror}"
            )

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            LOG.warning("%s; a ledger that is restored goes unnoticed", text)
            self._warned.add(text)


def listener(config: Config, host: Host) -> Threads:
    """Carry Glance's notifications into the ledger."""
    parts = Parts(config, host)
    recorder = Recorder(parts.ledger, host.recorded_here, config.selection)
    options = config.notifications
    ears = Listener(config.conf, options, recorder)
    gate = parts.gate()
    broker = broker_url(config.conf)
    queues = Queues(broker, options)
    watchdog = Watchdog(
        recorder,
        queues,
        patience=options.stall_timeout,
        heal=_end_process,
    )

    def step() -> bool:
        # Once it listens, oslo.messaging's own threads do the work.
        if gate.is_open() and not ears.listening:
            host.tell("open")
            ears.start()
            host.tell("listening")
        return False

    def watch() -> bool:
        return ears.listening and watchdog.step()

    def remember() -> bool:
        parts.check_memory()
        return False

    loops = [
        parts.loop("listener", step, interval=GATE_POLL),
        parts.loop("memory", remember),
    ]
    if not broker.startswith("memory:"):
        often = min(WATCH, options.stall_timeout / 2)
        loops.append(
            parts.loop(
                "listener's watch",
                watch,
                interval=often,
                release=queues.close,
            )
        )
    return Threads(loops, ears.stop)


def _end_process() -> None:
    """End at once; the agent starts the service anew.

    Stopping in order would wait for the threads that do not move. Nothing
    is lost: what is not acknowledged, the broker delivers again.
    """
    logging.shutdown()
    os._exit(1)


def auditor(config: Config, host: Host) -> Threads:
    """Carry into the ledger what Glance has and did not tell."""
    parts = Parts(config, host)
    options = config.glance
    assert options is not None
    worker = Auditor(
        parts.ledger,
        Catalogue(config.conf, options),
        recorded=host.recorded_here,
        audit_interval=options.audit_interval,
        poll_interval=options.poll_interval,
    )
    gate = parts.gate()

    def step() -> bool:
        return gate.is_open() and worker.step()

    return Threads(
        [
            parts.loop(
                "auditor",
                step,
                interval=min(POLL, options.poll_interval),
                release=worker.reset,
            )
        ]
    )


def publisher(config: Config, host: Host) -> Threads:
    """Carry the ledger's own claims to the peers, and answer them."""
    parts = Parts(config, host)
    options = parts.bus
    assert options.url is not None
    outlet = bus.Outlet(options.url, options.exchange)
    worker = Publisher(
        parts.ledger,
        outlet,
        parts.pen,
        batch_size=options.batch_size,
        heartbeat_interval=options.heartbeat_interval,
    )
    answerer = Answerer(
        parts.ledger,
        bus.Inbox(options.url, options.exchange),
        bus.Outlet(options.url, options.exchange),
        parts.pen,
        {peer.name: parts.trust(peer) for peer in options.peers},
        patience=PATIENCE,
    )
    loops = [
        parts.loop(
            "publisher",
            worker.step,
            wake=host.publisher,
            interval=min(POLL, options.heartbeat_interval),
            release=outlet.close,
        ),
        parts.loop("answerer", answerer.step, release=answerer.close),
    ]
    return Threads(loops)


def follower(config: Config, host: Host) -> Threads:
    """Carry the peers' claims into the ledger."""
    parts = Parts(config, host)
    return Threads([_follow(parts, peer) for peer in parts.bus.peers])


def _follow(parts: Parts, peer: Peer) -> Loop:
    worker = Follower(
        parts.ledger,
        bus.Inlet(peer, parts.bus),
        parts.trust(peer),
        parts.pen,
        recorded=parts.host.recorded_from_peer,
        patience=PATIENCE,
        max_moves=parts.bus.max_moves,
    )
    return parts.loop(
        f"follower of {peer.name}", worker.step, release=worker.reset
    )


def writer(config: Config, host: Host) -> Threads:
    """Carry the ledger's numbers into every sink."""
    writers = _Writers(Parts(config, host))
    for cell in config.cells:
        writers.start_cell(cell)
    if config.nova_api is not None:
        writers.follow_cells(config.nova_api)
    if config.ec2api is not None:
        engine = database.create_engine(config.ec2api)
        writers.start(Ec2ApiSink(engine), engine, rewrite=False)
    return writers.threads


class _Writers:
    """A loop for each sink; those of cells may come and go."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._fan = Fan()
        self._loops: dict[str, list[Loop]] = {}
        self._gate = parts.gate()
        wake_ups = Loop(
            "wake-ups",
            self._fan.step,
            wake=parts.host.writer,
            interval=FAN_INTERVAL,
            describe=describe,
        )
        self.threads = Threads([wake_ups])

    def start_cell(self, cell: Cell) -> None:
        engine = database.create_engine(cell.url)
        rewrite = self._parts.config.rewrite_rows
        self.start(NovaSink(cell.name, engine), engine, rewrite=rewrite)

    def end_cell(self, cell: Cell) -> None:
        sink = f"nova:{cell.name}"
        self._fan.forget(sink)
        for loop in self._loops.pop(sink, []):
            self.threads.end(loop)
        self._parts.ledger.forget_reader(sink)

    def follow_cells(self, api: NovaApi) -> None:
        roster = Roster(
            database.create_engine(api.url),
            api.template,
            start=self.start_cell,
            end=self.end_cell,
        )
        self.threads.add(
            self._parts.loop("cells", roster.step, interval=api.interval)
        )

    def start(self, sink: Sink, engine: Engine, *, rewrite: bool) -> None:
        parts = self._parts
        worker = Writer(parts.ledger, sink, rewrite=rewrite)
        auditor = SinkAuditor(
            Sweep(parts.ledger, sink, worker),
            sink.name,
            # Not while the Writer fills a new sink, nor beside another
            # host's: what is missing then is not amiss.
            may_begin=lambda: self._gate.is_open() and worker.caught_up,
            interval=parts.config.sink_audit_interval,
        )
        self._loops[sink.name] = [
            # Behind the gate: what a restored ledger is told before it has
            # compared may settle otherwise than all that it has lost.
            parts.loop(
                f"writer of {sink.name}",
                lambda: self._gate.is_open() and worker.step(),
                wake=self._fan.nudge(sink.name),
                release=engine.dispose,
            ),
            parts.loop(f"audit of {sink.name}", auditor.step),
        ]
        for loop in self._loops[sink.name]:
            self.threads.add(loop)
