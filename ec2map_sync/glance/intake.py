"""How notifications come out of oslo.messaging: in batches, none lost."""

import logging
import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kombu.transport import pyamqp

from ec2map_sync.broker import link

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    from oslo_messaging import MessageDeliveryFailure
    from oslo_messaging._drivers import amqp as driver, impl_rabbit
    from oslo_messaging.notify.listener import BatchNotificationServer

LOG = logging.getLogger(__name__)

MANY = 16
"""Notifications at a time that only a busy Glance sends."""

LONGEST_FILLING = 0.1
"""Seconds that those wait, at most, for a batch to be full."""

UNREADABLE = "ec2map_sync.unreadable"
"""The key under which a message that is no notification has its body."""

# After a reconnect oslo.messaging drops what it has had shortly before, and
# never acknowledges it: a small prefetch is used up by that for good. Here
# recording twice changes nothing, so it does not have to remember any.
driver._MsgIdCache.DUP_MSG_CHECK_SIZE = 0


class _Message(impl_rabbit.RabbitMessage):  # type: ignore[misc]
    """What oslo.messaging makes of a message, also if it cannot read it.

    By itself, it would log a traceback and reject the message: gone, and
    nobody could look at it.
    """

    with_earlier = False
    """Whether it is acknowledged together with all that came before it."""

    def __init__(self, raw_message: Any) -> None:
        try:
            super().__init__(raw_message)
        except Exception as error:  # noqa: BLE001, whatever the bytes raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            body = link.body_of(raw_message)
            dict.__init__(self, {UNREADABLE: (reason, body)})
            self._raw_message = raw_message

    @property
    def channel(self) -> Any:
        """What it came through; after a reconnect, that is another one."""
        return self._raw_message.channel

    def acknowledge(self) -> None:
        """Tell the broker that it has taken effect."""
        self._raw_message.ack(multiple=self.with_earlier)


impl_rabbit.RabbitMessage = _Message


def _acknowledge(batch: Sequence[Any]) -> None:
    """Acknowledge what was recorded, all of a channel's with one frame.

    It is recorded in the order in which it came: what came before the last
    has taken effect as well. (kombu's memory transport has no such frame.)
    """
    for incoming, next_one in pairwise([*batch, None]):
        channel = incoming.message.channel
        amqp = isinstance(channel, pyamqp.Channel)
        if amqp and next_one and next_one.message.channel is channel:
            continue
        incoming.message.with_earlier = amqp
        incoming.acknowledge()


class Server(BatchNotificationServer):  # type: ignore[misc]
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
        """Wait for a full batch, as long as many keep coming."""
        deadline = time.monotonic() + LONGEST_FILLING
        while (
            MANY <= len(self._arrived) < self._most
            and time.monotonic() < deadline
            and self._more.wait(self._patience)
        ):
            self._more.clear()

    def _settle(self, batch: Sequence[Any]) -> None:
        try:
            taken = not self.dispatcher.dispatch(batch)
        except Exception:
            # Let out, it would end this thread's work, and nobody would know.
            LOG.exception("notifications are given back, to come again")
            taken = False
        if taken:
            _acknowledge(batch)
        else:
            for incoming in batch:
                incoming.requeue()


class _Brief(logging.Filter):
    """Leaves tracebacks out of what the broker's state explains.

    A channel that the broker has closed, since a ledger was away for longer
    than it waits for acknowledgements, is opened again.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten a record; none is dropped."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MessageDeliveryFailure):
            record.exc_info = None
        return True


logging.getLogger("oslo_utils.excutils").addFilter(_Brief())
