"""What the services of a region are built from."""

import logging
import socket
from collections.abc import Callable
from functools import partial

from ec2map_sync.agent.health import Memory, Reporter
from ec2map_sync.agent.host import Host
from ec2map_sync.ledger import schema
from ec2map_sync.outages import cause_of, describe
from ec2map_sync.peers.gate import Gate
from ec2map_sync.region import Region
from ec2map_sync.rules.names import LoopName
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running.loop import Loop, Nudge, Wake
from ec2map_sync.settings.config import Config

LOG = logging.getLogger(__name__)

POLL = 1.0
"""Seconds after which other hosts' work is found, and lost wake-ups."""

loop_of = partial(Loop, describe=describe, cause_of=cause_of)
"""A loop of ours, which knows how outages are described."""


class Parts:
    """What one process needs to build its service from.

    Made after the fork: no connection is shared between processes.
    """

    def __init__(self, config: Config, host: Host) -> None:
        self.config = config
        self.host = host
        self.region = Region(config)
        self.ledger = self.region.ledger
        self.memory = Memory(
            path=config.state_path / f"{config.region}.ledger",
            region=config.region,
        )
        self._warned: set[str] = set()

    def gate(self) -> Gate:
        """Makes what tells whether claims may be made already."""
        return self.region.gate(self.host.started)

    def loop(
        self,
        name: LoopName,
        step: Callable[[], bool | None],
        *,
        wake: Wake | Nudge | None = None,
        interval: float = POLL,
        release: Callable[[], None] = lambda: None,
        report: Reporter | None = None,
    ) -> Loop:
        """Makes a loop that waits for the ledger, and reports to it."""
        return loop_of(
            str(name),
            step,
            prepare=self._prepare,
            report=report or self.report(name),
            wake=wake,
            interval=interval,
            release=release,
        )

    def report(self, name: LoopName) -> Reporter:
        """Makes what notes in the ledger how a loop is."""
        return Reporter(
            self.ledger, socket.gethostname(), str(name), clock=wall_clock
        )

    def _prepare(self) -> None:
        schema.require(self.region.engine)
        self.check_memory()

    def check_memory(self) -> None:
        """Notices a ledger that was restored, before anything is done."""
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
