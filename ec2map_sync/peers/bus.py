"""The bus between regions: exchange and queues (kombu)."""

import logging
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import amqp.exceptions
import kombu
import kombu.exceptions
from kombu.message import Message
from kombu.transport import pyamqp

from ec2map_sync.broker import transport
from ec2map_sync.settings import config

LOG = logging.getLogger(__name__)

transport.install()

OUTAGES: tuple[type[Exception], ...] = (
    amqp.exceptions.AMQPError,
    kombu.exceptions.KombuError,
    kombu.exceptions.OperationalError,
    OSError,
)
"""What a broker that is away, or comes back changed, raises."""

TLS_FILES = {
    "ca_file": "ca_certs",
    "cert_file": "certfile",
    "key_file": "keyfile",
}
"""Parameters of an amqps:// URL, and what the library calls them."""

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""How OpenSSL's complaint begins; kombu leaves nothing else of it."""

PREFETCH = 200
CONFIRM_TIMEOUT = 30
ANSWER_TIMEOUT = 20
CLOSE_TIMEOUT = 2
"""Seconds to wait for the broker; amqp itself would wait for ever."""

HEARTBEAT = 20
"""Seconds after which a silent connection counts as dead."""


def describe(error: Exception) -> str | None:
    """Say in one line what a broker answered; None if it was not one."""
    if not isinstance(error, OUTAGES):
        return None
    if isinstance(error, amqp.exceptions.NotFound):
        return f"not there yet: {error.reply_text}"
    text = " ".join(str(error).split())[:200] or type(error).__name__
    if _UNTRUSTED in text:
        return f"the broker's certificate is not trusted (ssl_ca_file): {text}"
    return text


def without_tls(url: str) -> tuple[str, dict[str, Any]]:
    """Part a URL, or several with ';' between them, from its TLS files.

    What amqps:// means is in our hands: kombu would take any certificate.
    It is checked against the files of ``ca_file``, else the system's, and
    against the host's name.
    """
    files: dict[str, str] = {}
    plain = []
    for one in url.split(";"):
        address, _, query = one.partition("?")
        given = dict(parse_qsl(query))
        files |= {k: v for k, v in given.items() if k in TLS_FILES}
        rest = {k: v for k, v in given.items() if k not in TLS_FILES}
        plain.append(address + (f"?{urlencode(rest)}" if rest else ""))
    if not url.startswith("amqps:"):
        return ";".join(plain), {}
    return ";".join(plain), {
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": None,  # kombu puts the host's name here
        **{TLS_FILES[name]: value for name, value in files.items()},
    }


def connect(url: str) -> kombu.Connection:
    """Prepare a connection; opened when first used.

    :raises OSError: a file that TLS needs cannot be read.
    """
    memory = url.startswith("memory:")
    plain, tls = without_tls(url)
    for option in TLS_FILES.values():
        if option in tls:
            # Python's own complaint would not name the file.
            Path(tls[option]).open("rb").close()
    return kombu.Connection(
        plain,
        ssl=tls or False,
        connect_timeout=5,
        heartbeat=0 if memory else HEARTBEAT,
        transport_options={"polling_interval": 0.005}
        if memory
        else {"confirm_publish": True, "max_retries": 0},
    )


class Link:
    """A connection that is opened when needed and dropped after an error."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: kombu.Connection | None = None
        self._socket: socket.socket | None = None
        self._pumped = 0.0

    def open(self) -> kombu.Connection:
        """Give the connection; the caller's thread is its only user."""
        if self._connection is None:
            connection = connect(self._url)
            connection.ensure_connection(max_retries=1)
            self._connection = connection
            inner = getattr(connection.connection, "transport", None)
            self._socket = getattr(inner, "sock", None)
            self._limit(ANSWER_TIMEOUT)
            self._set_up(connection.default_channel)
        return self._connection

    def _set_up(self, channel: Any) -> None:
        raise NotImplementedError

    def pump(self) -> None:
        """Keep the connection alive while nothing is sent or read."""
        now = time.monotonic()
        if self._connection is not None and now - self._pumped > 1:
            # The broker's heartbeats count once they are read, also by who
            # only sends.
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=0.001)
            self._connection.heartbeat_check()
            self._pumped = now

    def close(self) -> None:
        """Drop the connection; unacknowledged messages will come again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._limit(CLOSE_TIMEOUT)
            with suppress(*OUTAGES):  # it may be broken already
                connection.release()

    def _limit(self, seconds: float) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it may be closed already
                self._socket.settimeout(seconds)


def requests_of(exchange: str) -> str:
    """Name the exchange, and the queue, of questions to a region."""
    return f"{exchange}.requests"


def _publish(
    channel: Any,
    exchange: str,
    routing_key: str,
    headers: Mapping[str, Any],
    body: bytes,
) -> None:
    """Publish a message; returns when the broker has taken it over.

    One that no queue is bound for is confirmed as well: a peer that comes
    later finds by comparing what it has missed.
    """
    kombu.Producer(channel).publish(
        body,
        exchange=exchange,
        routing_key=routing_key,
        headers=dict(headers),
        content_type="application/json",
        content_encoding="binary",
        delivery_mode=2,
        confirm_timeout=CONFIRM_TIMEOUT,
    )


class Outlet(Link):
    """Publishes on the region's own broker, each message confirmed."""

    def __init__(self, url: str, exchange: str) -> None:
        super().__init__(url)
        self._exchange = exchange

    def _set_up(self, channel: Any) -> None:
        for name in (self._exchange, requests_of(self._exchange)):
            kombu.Exchange(name, "topic", durable=True)(channel).declare()

    def send(
        self, routing_key: str, headers: Mapping[str, Any], body: bytes
    ) -> None:
        """Publish a message to the peers that have a queue for it."""
        channel = self.open().default_channel
        _publish(channel, self._exchange, routing_key, headers, body)


class _Source(Link):
    """Reads one queue, a batch at a time."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._arrived: list[Message] = []

    def _declare(self, channel: Any) -> kombu.Queue:
        raise NotImplementedError

    def _set_up(self, channel: Any) -> None:
        self._arrived.clear()
        _take_as_it_comes(channel)
        queue = self._declare(channel)
        channel.basic_qos(0, PREFETCH, False)
        consumer = kombu.Consumer(
            channel, [queue], on_message=self._arrived.append, no_ack=False
        )
        consumer.consume()

    def read(self, limit: int, seconds: float) -> list[Message]:
        """Wait for messages; give what has come, so many at most."""
        connection = self.open()
        self.pump()
        if len(self._arrived) < limit:
            with suppress(TimeoutError):
                connection.drain_events(
                    timeout=0.001 if self._arrived else seconds
                )
        messages = self._arrived[:limit]
        del self._arrived[:limit]
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tell the broker that these have taken effect here."""
        # One by one: kombu's memory transport knows nothing of "multiple".
        for message in messages:
            message.ack()


class _Plain(pyamqp.Message):
    """A message whose body is what was published."""

    def __init__(self, msg: Any, channel: Any = None, **options: Any) -> None:
        # kombu would unpack what a header says is packed: a few bytes into
        # gigabytes, or into an error that comes again with the message.
        msg.properties.get("application_headers", {}).pop("compression", None)
        super().__init__(  # type: ignore[no-untyped-call]
            msg, channel=channel, **options
        )


def _take_as_it_comes(channel: Any) -> None:
    """Let nobody decode bodies: what is signed are bytes."""
    if isinstance(channel, pyamqp.Channel):
        channel.Message = _Plain
        channel.auto_decode = False


class Inlet(_Source):
    """Reads our queue on a peer's broker, and asks the peer questions."""

    def __init__(self, peer: config.Peer, bus: config.Bus) -> None:
        super().__init__(peer.url)
        self._peer = peer
        self._reader = bus.region
        self._queue = kombu.Queue(
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

    def _declare(self, channel: Any) -> kombu.Queue:
        # The exchange is the peer's to declare; our account may not.
        exchange = self._peer.exchange
        channel.exchange_declare(exchange, "topic", passive=True)
        queue = self._queue(channel)
        queue.queue_declare()
        for key in ("claims", "heartbeat", f"answer.{self._reader}"):
            queue.bind_to(exchange, key)
        LOG.info("reading %s of %s", self._queue.name, self._peer.name)
        return queue

    def ask(self, headers: Mapping[str, Any], body: bytes) -> None:
        """Put a question into the peer's queue."""
        channel = self.open().default_channel
        exchange = requests_of(self._peer.exchange)
        _publish(channel, exchange, "compare", headers, body)


class Inbox(_Source):
    """Reads the questions that peers put on our own broker."""

    def __init__(self, url: str, exchange: str) -> None:
        super().__init__(url)
        self._name = requests_of(exchange)

    def _declare(self, channel: Any) -> kombu.Queue:
        queue = kombu.Queue(
            self._name,
            kombu.Exchange(self._name, "topic", durable=True),
            "#",
            durable=True,
            queue_arguments={
                # Nobody waits longer for an answer.
                "x-message-ttl": 60_000,
                "x-max-length-bytes": 16 * 1024 * 1024,
            },
        )(channel)
        queue.declare()
        return queue


def body_of(message: Message) -> bytes:
    """Give the bytes that were signed."""
    body = message.body
    if isinstance(body, str):  # of kombu's memory transport
        return body.encode(errors="surrogatepass")
    return bytes(body)
