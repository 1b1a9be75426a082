"""What the processes of one agent share: wake-ups, and a roll of who lives."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running import counters
from ec2map_sync.running.loop import Wake
from ec2map_sync.running.pulse import Pulse
from ec2map_sync.running.roll import Roll

LOG = logging.getLogger(__name__)


class Host:
    """What the services of a region share on one host, across processes.

    A wake-up that is lost, and what other hosts do, is found by polling.
    Without a roll nothing is counted, and nobody can tell at once who lives.
    """

    def __init__(
        self, roll: Roll | None = None, expected: Sequence[str] = ()
    ) -> None:
        self.started_at = wall_clock()
        self.started = time.monotonic()
        self.publisher = Wake()
        self.writer = Wake()
        self.roll = roll
        self.expected = expected
        """The names of the processes that there should be."""
        self.pulse = Pulse(expected)
        self._process = ""

    def enter(self, process: str, service: str) -> None:
        """Is one of this host's processes."""
        self._process = process
        self.beat()
        if self.roll is None:
            return
        try:
            self.roll.enter(process)
        except OSError as error:
            LOG.warning("%s counts nothing: %s", process, error)
            self.roll = None
            return
        try:
            counters.start(self.roll.directory, process)
        except OSError as error:
            LOG.warning("%s counts nothing: %s", process, error)
        else:
            counters.STARTS.add(1, service)

    def beat(self) -> None:
        """Lets the other processes know that the loops of this one run."""
        self.pulse.beat(self._process)

    def tell(self, what: str) -> None:
        """Lets the other processes know how far this one has come."""
        if self.roll is not None:
            with suppress(OSError):  # a full disk stops no service
                self.roll.enter(f"{self._process}.{what}")

    def recorded_here(self) -> None:
        """Tells that this region has made claims."""
        self.publisher.set()
        self.recorded_from_peer()

    def recorded_from_peer(self) -> None:
        """Tells that claims of a peer have come in."""
        self.writer.set()
