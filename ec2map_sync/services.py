"""The services of a region: wiring, and nothing else."""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync import bus, database, wire
from ec2map_sync.compare import Gate
from ec2map_sync.config import Config, Peer
from ec2map_sync.errors import Ec2MapError
from ec2map_sync.follower import Follower
from ec2map_sync.glance import Listener, Recorder
from ec2map_sync.health import Memory, Reporter
from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.ledger.ledger import wall_clock
from ec2map_sync.loop import Loop, Wake
from ec2map_sync.publisher import Answerer, Publisher
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.writer import Writer

LOG = logging.getLogger(__name__)

POLL = 1.0
"""Seconds after which other hosts' work is found, and lost wake-ups."""

GATE_POLL = 0.2
"""Seconds between two looks whether claims may be made already."""

PATIENCE = 0.5
"""Seconds that a Follower waits for a message before it looks up."""


class Service(Protocol):
    """What a process of the agent runs."""

    def run(self) -> None:
        """Work until stopped."""

    def stop(self) -> None:
        """Finish what has begun, soon."""


class Host:
    """What the services of a region share on one host, across processes.

    A wake-up that is lost, and what other hosts do, is found by polling.
    """

    def __init__(self, sinks: Iterable[str]) -> None:
        self.started_at = wall_clock()
        self.publisher = Wake()
        self.sinks = {name: Wake() for name in sinks}

    def recorded_here(self) -> None:
        """Tell that this region has made claims."""
        self.publisher.set()
        self.recorded_from_peer()

    def recorded_from_peer(self) -> None:
        """Tell that claims of a peer have come in."""
        for wake in self.sinks.values():
            wake.set()


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

    def loop(
        self,
        name: str,
        step: Callable[[], bool],
        *,
        wake: Wake | None = None,
        interval: float = POLL,
        recover: Callable[[], None] = lambda: None,
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
            recover=recover,
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


class Threads:
    """The loops of one process, each in a thread of its own."""

    def __init__(
        self,
        loops: Sequence[Loop],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._loops = loops
        self._close = close

    def run(self) -> None:
        """Run all loops to their end."""
        threads = [
            threading.Thread(target=loop.run, name=loop.name, daemon=True)
            for loop in self._loops
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._close()

    def stop(self) -> None:
        """End every loop after its present step."""
        for loop in self._loops:
            loop.stop()


def listener(config: Config, host: Host) -> Threads:
    """Carry Glance's notifications into the ledger."""
    parts = Parts(config, host)
    recorder = Recorder(parts.ledger, host.recorded_here)
    ears = Listener(config.conf, config.notifications, recorder)
    gate = Gate(
        parts.ledger,
        [peer.name for peer in parts.bus.peers],
        since=host.started_at,
        wait=parts.bus.claim_wait,
        clock=wall_clock,
    )

    def step() -> bool:
        # Once it listens, oslo.messaging's own threads do the work.
        if gate.is_open() and not ears.listening:
            ears.start()
        return False

    def remember() -> bool:
        parts.check_memory()
        return False

    loops = [
        parts.loop("listener", step, interval=GATE_POLL),
        parts.loop("memory", remember),
    ]
    return Threads(loops, ears.stop)


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
            recover=outlet.close,
        ),
        parts.loop("answerer", answerer.step, recover=answerer.close),
    ]
    return Threads(loops, outlet.close)


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
    )
    return parts.loop(
        f"follower of {peer.name}", worker.step, recover=worker.reset
    )


def writer(config: Config, host: Host) -> Threads:
    """Carry the ledger's numbers into every sink."""
    parts = Parts(config, host)
    loops = []
    for cell in config.cells:
        sink = NovaSink(cell.name, database.create_engine(cell.url))
        worker = Writer(parts.ledger, sink, rewrite=config.rewrite_rows)
        loops.append(
            parts.loop(
                f"writer of {sink.name}",
                worker.step,
                wake=host.sinks[sink.name],
            )
        )
    return Threads(loops)
