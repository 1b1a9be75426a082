"""What the services of a region are built from."""

import logging
import socket
from collections.abc import Callable

from ec2map_sync.agent.health import Memory, Reporter
from ec2map_sync.agent.host import Host
from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.outages import cause_of, describe
from ec2map_sync.peers.gate import Gate
from ec2map_sync.protocol import wire
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running.loop import Loop, Nudge, Wake
from ec2map_sync.settings.config import Config, Peer
from ec2map_sync.sql import database

LOG = logging.getLogger(__name__)

POLL = 1.0
"""Seconds after which other hosts' work is found, and lost wake-ups."""


def sinks_of(config: Config, ledger: Ledger) -> list[str]:
    """Name the sinks; where Nova names the cells, those that have begun."""
    cells = [f"nova:{cell.name}" for cell in config.cells]
    if config.nova_api is not None:
        cursors = ledger.queries.cursors()
        cells = sorted(n for n in cursors if n.startswith("nova:"))
    return cells if config.ec2api is None else [*cells, "ec2api"]


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
            report=self.report(name),
            wake=wake or Wake(),
            interval=interval,
            describe=describe,
            cause_of=cause_of,
            release=release,
        )

    def report(self, name: str) -> Reporter:
        """Make what notes in the ledger how a loop is."""
        return Reporter(
            self.ledger, socket.gethostname(), name, clock=wall_clock
        )

    def sinks(self) -> list[str]:
        """Name the sinks."""
        return sinks_of(self.config, self.ledger)

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
