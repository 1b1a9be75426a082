"""The services of a region: wiring, and nothing else."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync import bus, database, glance, wire
from ec2map_sync.config import Bus, Config, Peer
from ec2map_sync.errors import Ec2MapError
from ec2map_sync.follower import Follower
from ec2map_sync.glance import Listener, Recorder
from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.ledger.ledger import wall_clock
from ec2map_sync.loop import Loop, Wake
from ec2map_sync.publisher import Publisher
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.writer import Writer

POLL = 1.0
"""Seconds after which other hosts' work is found, and lost wake-ups."""

PATIENCE = 0.5
"""Seconds that a Follower waits for a message before it looks up."""


class Service(Protocol):
    """What a process of the agent runs."""

    def run(self) -> None:
        """Work until stopped."""

    def stop(self) -> None:
        """Finish what has begun, soon."""


class Wakes:
    """Who is told, within a host, that something was recorded."""

    def __init__(self, sinks: Iterable[str]) -> None:
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


def pen_of(config: Config, options: Bus) -> wire.Pen:
    """Give what signs this region's messages."""
    return wire.Pen(
        region=options.region,
        scheme=config.scheme.fingerprint,
        key=options.key,
        clock=wall_clock,
    )


class Threads:
    """The loops of one process, each in a thread of its own."""

    def __init__(
        self, loops: Sequence[Loop], close: Callable[[], None]
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


def listener(config: Config, wakes: Wakes) -> Threads:
    """Carry Glance's notifications into the ledger."""
    engine = database.create_engine(config.ledger)
    ledger = Ledger(engine, config.scheme)
    recorder = Recorder(ledger, wakes.recorded_here)
    ears = Listener(config.conf, config.notifications, recorder)

    def prepare() -> None:
        schema.require(engine)
        ears.start()

    loop = Loop(
        "listener",
        lambda: False,  # oslo.messaging's own threads do the work
        prepare=prepare,
        wake=Wake(),
        interval=POLL,
        describe=glance.describe,
    )
    return Threads([loop], ears.stop)


def publisher(config: Config, wakes: Wakes) -> Threads:
    """Carry the ledger's own claims to the peers."""
    options = config.bus
    assert options.url is not None
    engine = database.create_engine(config.ledger)
    outlet = bus.Outlet(options.url, options.exchange)
    worker = Publisher(
        Ledger(engine, config.scheme),
        outlet,
        pen_of(config, options),
        batch_size=options.batch_size,
        heartbeat_interval=options.heartbeat_interval,
    )
    loop = Loop(
        "publisher",
        worker.step,
        prepare=lambda: schema.require(engine),
        wake=wakes.publisher,
        interval=min(POLL, options.heartbeat_interval),
        describe=describe,
        recover=outlet.close,
    )
    return Threads([loop], outlet.close)


def follower(config: Config, wakes: Wakes) -> Threads:
    """Carry the peers' claims into the ledger."""
    options = config.bus
    engine = database.create_engine(config.ledger)
    ledger = Ledger(engine, config.scheme)
    loops = [
        _follow(peer, options, ledger, engine, wakes) for peer in options.peers
    ]
    return Threads(loops, lambda: None)


def _follow(
    peer: Peer, options: Bus, ledger: Ledger, engine: Engine, wakes: Wakes
) -> Loop:
    inlet = bus.Inlet(peer, options)
    worker = Follower(
        ledger,
        inlet,
        wire.Trust(
            sender=peer.name,
            keys=peer.keys,
            scheme=ledger.scheme.fingerprint,
        ),
        clock=wall_clock,
        recorded=wakes.recorded_from_peer,
        patience=PATIENCE,
    )
    return Loop(
        f"follower of {peer.name}",
        worker.step,
        prepare=lambda: schema.require(engine),
        wake=Wake(),
        interval=POLL,
        describe=describe,
        recover=inlet.close,
    )


def writer(config: Config, wakes: Wakes) -> Threads:
    """Carry the ledger's numbers into every sink."""
    engine = database.create_engine(config.ledger)
    ledger = Ledger(engine, config.scheme)
    loops = []
    for cell in config.cells:
        sink = NovaSink(cell.name, database.create_engine(cell.url))
        worker = Writer(ledger, sink, rewrite=config.rewrite_rows)
        loops.append(
            Loop(
                f"writer of {sink.name}",
                worker.step,
                prepare=lambda: schema.require(engine),
                wake=wakes.sinks[sink.name],
                interval=POLL,
                describe=describe,
            )
        )
    return Threads(loops, lambda: None)
