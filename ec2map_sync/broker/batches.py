"""Batches of notifications, as large as Glance is busy.

Imported only where oslo.messaging is inside as `inside` knows it.
"""

import logging
import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any

from ec2map_sync.broker.delivery import acknowledged_together, delivery_in
from ec2map_sync.broker.sizes import comes_later

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    from oslo_messaging.notify.listener import BatchNotificationServer

LOG = logging.getLogger(__name__)

MANY = 16
"""Notifications at a time that only a busy Glance sends."""

LONGEST_FILLING = 0.1
"""Seconds that those wait, at most, for a batch to be full."""


class BatchServer(BatchNotificationServer):  # type: ignore[misc]
    """Records together what comes together; what comes alone, at once.

    oslo.messaging's own batches are closed after a fixed time: too early
    under load, too late on an idle machine. So it hands over each
    notification as it comes, and batches are made here. A transaction costs
    as much as a hundred images do: under load, it is worth a full batch.
    """

    def __init__(
        self,
        *args: Any,
        batch_size: int,
        batch_timeout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, batch_size=1, batch_timeout=None, **kwargs)
        self._most = batch_size
        self._patience = batch_timeout
        self._arrived: deque[Any] = deque()
        self._more = threading.Event()
        self._submitted = False

    def _on_incoming(self, incoming: Sequence[Any]) -> None:
        self._arrived.extend(incoming)
        self._more.set()
        if not self._submitted:
            self._submitted = True
            super()._on_incoming(incoming)

    def _process_incoming(self, _incoming: Sequence[Any]) -> None:
        # First of all: what arrives from now on has a call of its own.
        self._submitted = False
        while self._arrived:
            self._fill_up()
            some = min(self._most, len(self._arrived))
            self._settle([self._arrived.popleft() for _ in range(some)])

    def _fill_up(self) -> None:
        """Waits for a full batch, as long as many keep coming."""
        deadline = time.monotonic() + LONGEST_FILLING
        while (
            MANY <= len(self._arrived) < self._most
            and time.monotonic() < deadline
            and self._more.wait(self._patience)
        ):
            self._more.clear()

    def _settle(self, batch: Sequence[Any]) -> None:
        whole = []
        for incoming in batch:
            if comes_later(delivery_in(incoming.message).carrier):
                # First of all, lest others' acknowledgement take it away.
                incoming.requeue()
            else:
                whole.append(incoming)
        if whole:
            self._settle_whole(whole)

    def _settle_whole(self, batch: Sequence[Any]) -> None:
        deliveries = [delivery_in(incoming.message) for incoming in batch]
        try:
            taken = not self.dispatcher.dispatch(deliveries)
        except Exception:
            # Let out, it would end this thread's work, and nobody would know.
            LOG.exception("notifications are given back, to come again")
            taken = False
        if taken:
            acknowledged_together(deliveries)
        for incoming, delivery in zip(batch, deliveries, strict=True):
            if not taken:
                incoming.requeue()
            elif not (delivery.carrier and delivery.carrier.with_later):
                incoming.acknowledge()
