"""Watching the listener from beside: whether it gets what waits for it."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import kombu

from ec2map_sync import bus, metrics
from ec2map_sync.config import Notifications
from ec2map_sync.listener import PRIORITIES, Recorder

LOG = logging.getLogger(__name__)


class Queues:
    """How many notifications wait for us on Glance's broker."""

    def __init__(self, url: str, options: Notifications) -> None:
        self._url = url
        self.names = (
            [options.pool]
            if options.pool
            else [f"{t}.{p}" for t in options.topics for p in PRIORITIES]
        )
        self._connection: kombu.Connection | None = None

    def waiting(self) -> int:
        """Count what is not delivered yet.

        :raises Exception: one of `bus.OUTAGES` if the broker is away.
        """
        return sum(self._depth(name) for name in self.names)

    def close(self) -> None:
        """Drop the connection; it is made anew when needed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*bus.OUTAGES):  # it may be broken already
                connection.release()

    def _depth(self, name: str) -> int:
        if self._connection is None:
            self._connection = bus.connect(self._url)
            self._connection.ensure_connection(max_retries=1)
        self._connection.heartbeat_check()
        # Of its own: a missing queue closes the channel.
        with self._connection.channel() as channel:
            return int(channel.queue_declare(name, passive=True).message_count)


class Watchdog:
    """Sees a listener that gets nothing though its queues hold messages.

    That has been seen after a reconnect: oslo.messaging ignores what it
    has had shortly before, never acknowledges it, and with a small prefetch
    gets nothing else. ``heal`` is called when it has lasted too long.
    """

    def __init__(
        self,
        recorder: Recorder,
        queues: Queues,
        *,
        patience: float,
        heal: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder = recorder
        self._queues = queues
        self._patience = patience
        self._heal = heal
        self._monotonic = monotonic
        self._batches = 0
        self._since: float | None = None

    def step(self) -> bool:
        """Look once; raises what `Queues.waiting` does."""
        waiting = self._queues.waiting()
        now = self._monotonic()
        moves = self._recorder.busy or self._recorder.batches != self._batches
        self._batches = self._recorder.batches
        if moves or not waiting:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._patience:
            LOG.error(
                "the listener has got nothing for %.0f s, while %d "
                "notifications wait in %s: it is started anew",
                now - self._since,
                waiting,
                ", ".join(self._queues.names),
            )
            self._since = None
            metrics.STALLS.add(1)
            self._heal()
        return False
