"""The bus between regions: exchange and queues (kombu)."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import kombu
from amqp.exceptions import ChannelError, InternalError, NotFound
from kombu.message import Message

from ec2map_sync.broker import inside
from ec2map_sync.broker.address import Address
from ec2map_sync.broker.link import ANSWER_TIMEOUT, Link, publish
from ec2map_sync.broker.sizes import comes_later
from ec2map_sync.peers import queues
from ec2map_sync.settings.values import Bus, Peer

LOG = logging.getLogger(__name__)

PREFETCH = 200

SILENCE = 5.0
"""Seconds without a message after which a queue is asked whether it is dead:
a consumer of one that is just gets nothing."""

ALIVE = 5
"""Seconds that it may take to answer."""

LOOK_AGAIN = 300.0
"""Seconds after which who reads a spare queue looks for the usual one."""


def requests_of(exchange: str) -> str:
    """Names the exchange, and the queue, of questions to a region."""
    return f"{exchange}.requests"


class Outlet(Link):
    """Publishes on the region's own broker, each message confirmed."""

    def __init__(self, address: Address, exchange: str) -> None:
        super().__init__(address)
        self._exchange = exchange

    def _set_up(self, channel: Any) -> None:
        for name in (self._exchange, requests_of(self._exchange)):
            kombu.Exchange(name, "topic", durable=True)(channel).declare()

    def send(
        self, routing_key: str, headers: Mapping[str, Any], body: bytes
    ) -> None:
        """Publishes a message to the peers that have a queue for it."""
        channel = self.open().default_channel
        publish(channel, self._exchange, routing_key, headers, body)


class _Source(Link):
    """Reads one queue, a batch at a time."""

    def __init__(
        self, address: Address, queue: kombu.Queue, spare: str
    ) -> None:
        """Reads a queue, or, while its node is down, a spare one.

        The spare one is gone with the connection, and whatever was in it:
        comparing brings that.
        """
        super().__init__(address)
        self._arrived: list[Message] = []
        self._queue = queue
        self._spare = kombu.Queue(
            spare, durable=False, exclusive=True, auto_delete=True
        )
        self._silent = False
        """Whether the queue does not answer, though it is there."""
        self._stays_so = False
        """Whether it could not be made anew either."""
        self._heard_at = 0.0
        self._until = float("inf")
        """When to look again whether the spare one can be left."""

    def _bind(self, queue: kombu.Queue) -> None:
        """Lets come into a queue what is to be read there."""
        raise NotImplementedError

    def _declare(self, channel: Any) -> kombu.Queue:
        nodes = self._address.nodes
        try:
            return queues.declare(channel, self._queue, nodes=nodes)
        except NotFound as error:
            return self._declare_spare(channel, error.reply_text)

    def _declare_spare(self, channel: Any, reason: str) -> kombu.Queue:
        LOG.warning(
            "%s: reading %s meanwhile; see 'ec2map-sync config check'",
            reason,
            self._spare.name,
        )
        queue = self._spare(channel)
        queue.queue_declare()
        self._until = time.monotonic() + LOOK_AGAIN
        return queue

    def _set_up(self, channel: Any) -> None:
        self._arrived.clear()
        inside.take_as_it_comes(channel)
        self._until = float("inf")
        self._heard_at = time.monotonic()
        try:
            self._read_from(channel, self._declare_what_lives(channel))
        except (TimeoutError, InternalError):
            # Too few of the nodes that hold it are up.
            self._silent, self._stays_so = True, self._silent
            raise
        self._silent = self._stays_so = False

    def _declare_what_lives(self, channel: Any) -> kombu.Queue:
        if self._stays_so:
            return self._declare_spare(channel, "the other does not answer")
        if not self._silent:
            return self._declare(channel)
        try:
            return queues.renew(channel, self._queue)
        except NotFound as error:
            return self._declare_spare(channel, error.reply_text)

    def _read_from(self, channel: Any, queue: kombu.Queue) -> None:
        self._bind(queue)
        channel.basic_qos(0, PREFETCH, False)
        consumer = kombu.Consumer(
            channel,
            [queue],
            on_message=self._arrived.append,
            on_decode_error=lambda message, _error: self._arrived.append(
                message
            ),
            no_ack=False,
        )
        self._limit(ALIVE)
        consumer.consume()
        self._limit(ANSWER_TIMEOUT)

    def read(self, limit: int, seconds: float) -> list[Message]:
        """Waits for messages; gives what has come, so many at most."""
        if time.monotonic() >= self._until:
            self.close()
        connection = self.open()
        self.pump()
        if len(self._arrived) < limit:
            with suppress(TimeoutError):
                connection.drain_events(
                    timeout=0.001 if self._arrived else seconds
                )
        self._look_after(connection)
        some = self._arrived[:limit]
        del self._arrived[:limit]
        whole = [message for message in some if not comes_later(message)]
        if some and not whole:
            # Others of this process hold all room: not again at once.
            time.sleep(seconds)
        for message in some:
            if comes_later(message):
                message.requeue()
        return whole

    def _look_after(self, connection: kombu.Connection) -> None:
        """Asks a queue from which nothing comes whether it is dead.

        :raises InternalError: it is.
        :raises TimeoutError: it does not answer.
        """
        now = time.monotonic()
        if self._arrived or self._reads_spare or self._address.in_memory:
            self._heard_at = now
        if now - self._heard_at < SILENCE:
            return
        self._heard_at = now
        self._limit(ALIVE)
        try:
            # What it gives, if anything, goes back with the channel. If it
            # has a single consumer, it refuses, and so lives.
            channel = connection.channel()
            with suppress(ChannelError):
                channel.basic_get(self._queue.name)
            channel.close()
        except (TimeoutError, InternalError):
            self._silent = True
            raise
        self._limit(ANSWER_TIMEOUT)

    @property
    def _reads_spare(self) -> bool:
        return self._until < float("inf")

    def acknowledge(self, taken: Sequence[Message]) -> None:
        """Tells the broker that these have taken effect here."""
        # One by one: kombu's memory transport knows nothing of "multiple".
        for message in taken:
            message.ack()


class Inlet(_Source):
    """Reads our queue on a peer's broker, and asks the peer questions."""

    def __init__(self, peer: Peer, bus: Bus) -> None:
        self._peer = peer
        self._reader = bus.region
        queue = kombu.Queue(
            f"{peer.exchange}.{bus.region}",
            durable=True,
            queue_arguments={
                # One host of ours reads, the others stand by: so the order
                # of messages is kept.
                "x-single-active-consumer": True,
                "x-max-length-bytes": bus.queue_max_bytes,
                "x-overflow": "drop-head",
                "x-expires": bus.queue_expires * 1000,
            },
        )
        super().__init__(peer.broker, queue, spare=f"{queue.name}.replay")

    def _declare(self, channel: Any) -> kombu.Queue:
        # The exchange is the peer's to declare; our account may not.
        channel.exchange_declare(self._peer.exchange, "topic", passive=True)
        return super()._declare(channel)

    def _bind(self, queue: kombu.Queue) -> None:
        for key in ("claims", "heartbeat", f"answer.{self._reader}"):
            queue.bind_to(self._peer.exchange, key)
        LOG.info("reading %s of %s", queue.name, self._peer.name)

    def ask(self, headers: Mapping[str, Any], body: bytes) -> None:
        """Puts a question into the peer's queue."""
        channel = self.open().default_channel
        exchange = requests_of(self._peer.exchange)
        publish(channel, exchange, "compare", headers, body)


class Inbox(_Source):
    """Reads the questions that peers put on our own broker."""

    def __init__(self, address: Address, exchange: str) -> None:
        self._exchange = requests_of(exchange)
        queue = kombu.Queue(
            self._exchange,
            durable=True,
            queue_arguments={
                # Nobody waits longer for an answer.
                "x-message-ttl": 60_000,
                "x-max-length-bytes": 16 * 1024 * 1024,
            },
        )
        super().__init__(address, queue, spare=f"{queue.name}.spare")

    def _declare(self, channel: Any) -> kombu.Queue:
        kombu.Exchange(self._exchange, "topic", durable=True)(
            channel
        ).declare()
        return super()._declare(channel)

    def _bind(self, queue: kombu.Queue) -> None:
        queue.bind_to(self._exchange, "#")
