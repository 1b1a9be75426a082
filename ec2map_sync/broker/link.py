"""A connection to a broker: TLS, time limits, and what an outage is."""

import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import amqp.exceptions
import kombu
import kombu.exceptions
from kombu.message import Message

from ec2map_sync.broker import inside
from ec2map_sync.broker.address import Address, Tls
from ec2map_sync.rules.errors import one_line

BROKEN: tuple[type[Exception], ...] = (
    amqp.exceptions.AMQPError,
    amqp.exceptions.MessageNacked,
    kombu.exceptions.KombuError,
    kombu.exceptions.OperationalError,
    OSError,
)
"""What a broker that is away, or comes back changed, raises."""

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""How OpenSSL's complaint begins; kombu leaves nothing else of it."""

CONFIRM_TIMEOUT = 30
ANSWER_TIMEOUT = 20
CLOSE_TIMEOUT = 2
"""Seconds to wait for the broker; amqp itself would wait for ever."""

HEARTBEAT = 20
"""Seconds after which a silent connection counts as dead."""

_BETWEEN_BEATS = 0.45
"""Of a heartbeat's time; the broker sends one after half of it. Each lets who
waits for an answer wait anew: waiting longer, nobody would ever give up."""


def describe(error: Exception) -> str | None:
    """Says in one line what a broker answered; None if it was not one."""
    if not isinstance(error, BROKEN):
        return None
    if isinstance(error, amqp.exceptions.NotFound):
        return f"not there yet: {error.reply_text}"
    if isinstance(error, amqp.exceptions.MessageNacked):
        return "the broker takes no message: is a node of it down?"
    text = one_line(error)
    if _UNTRUSTED in text:
        return f"the broker's certificate is not trusted (ssl_ca_file): {text}"
    return text


def connect(address: Address, turn: int = 0) -> kombu.Connection:
    """Opens a connection, to whichever node of a cluster lets us.

    ``turn`` tells with which of them to begin.

    :raises Exception: one of `BROKEN`: none does, or a file that TLS needs
        cannot be read.
    """
    inside.install_reading()
    nodes = address.urls.split(";")
    first = turn % len(nodes)
    connection = kombu.Connection(
        ";".join(nodes[first:] + nodes[:first]),
        ssl=_checks(address.tls) if address.tls else False,
        connect_timeout=5,
        heartbeat=0 if address.in_memory else HEARTBEAT,
        transport_options={"polling_interval": 0.005}
        if address.in_memory
        else {"confirm_publish": True, "max_retries": 0},
    )
    # By itself kombu gives up after the second.
    connection.ensure_connection(max_retries=len(nodes))
    return connection


def _checks(tls: Tls) -> dict[str, Any]:
    # What amqps:// means is in our hands: kombu would take any certificate.
    files = {
        "ca_certs": tls.ca_file,
        "certfile": tls.cert_file,
        "keyfile": tls.key_file,
    }
    found: dict[str, Any] = {name: f for name, f in files.items() if f}
    for file in found.values():
        # Python's own complaint would not name it.
        Path(file).open("rb").close()
    if tls.verify_host:
        found["server_hostname"] = None  # kombu puts the host's name here
    return {"cert_reqs": ssl.CERT_REQUIRED, **found}


class Link:
    """A connection that is opened when needed and dropped after an error."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: kombu.Connection | None = None
        self._socket: socket.socket | None = None
        self._longest = float("inf")
        """Seconds for which an answer can be waited for; see there."""
        self._pumped = 0.0
        self._turn = -1

    def open(self) -> kombu.Connection:
        """Returns the connection; the caller's thread is its only user."""
        if self._connection is None:
            # The node of before may take connections, and close them.
            self._turn += 1
            connection = connect(self._address, self._turn)
            self._connection = connection
            self._know(connection.connection)
            self._limit(ANSWER_TIMEOUT)
            self._set_up(connection.default_channel)
        return self._connection

    def _know(self, inner: Any) -> None:
        """Keeps what limits how long an answer of amqp's may take."""
        self._socket = getattr(getattr(inner, "transport", None), "sock", None)
        beat = getattr(inner, "heartbeat", None)
        self._longest = _BETWEEN_BEATS * beat if beat else float("inf")

    def _set_up(self, channel: Any) -> None:
        raise NotImplementedError

    def pump(self) -> None:
        """Keeps the connection alive while nothing is sent or read."""
        now = time.monotonic()
        if self._connection is not None and now - self._pumped > 1:
            # The broker's heartbeats count once they are read, also by who
            # only sends.
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=0.001)
            self._connection.heartbeat_check()
            self._pumped = now

    def close(self) -> None:
        """Drops the connection; unacknowledged messages will come again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._limit(CLOSE_TIMEOUT)
            with suppress(*BROKEN):  # it may be broken already
                connection.release()

    def _limit(self, seconds: float) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it may be closed already
                self._socket.settimeout(min(seconds, self._longest))


def publish(
    channel: Any,
    exchange: str,
    routing_key: str,
    headers: Mapping[str, Any],
    body: bytes,
) -> None:
    """Publishes a message; returns when the broker has taken it over.

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


def body_of(message: Message) -> bytes:
    """Returns the bytes that were signed."""
    body = message.body
    if isinstance(body, str):  # of kombu's memory transport
        return body.encode(errors="surrogatepass")
    return bytes(body)
