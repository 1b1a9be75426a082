"""RabbitMQ as kombu reaches it, with what it lacks for us.

Imported only where kombu is inside as `inside` knows it.
"""

import select
import ssl
from contextlib import suppress
from typing import Any

from kombu.transport import pyamqp

from ec2map_sync.broker import sizes

MOST = 100
"""Messages given out at a time: more save nothing, and hold up the first."""

FRAMES = 512
"""Frames read at a time: large messages have one for each 128 KiB, and small
ones three, all in all."""


class Transport(pyamqp.Transport):
    """Gives out all messages that the socket holds.

    py-amqp gives out one. Around each, oslo.messaging sets up a retry, a
    lock and timeouts, which takes longer than reading the message.
    """

    def establish_connection(self) -> Any:
        """Connects; a certificate is checked against this host's own name."""
        client: Any = self.client
        if isinstance(client.ssl, dict):
            # kombu puts the name there, and would keep it for other hosts.
            client.ssl = dict(client.ssl)
        return super().establish_connection()  # type: ignore[no-untyped-call]

    def drain_events(self, connection: Any, **options: Any) -> None:
        """Waits for a message; gives it out, and those right behind it."""
        sizes.await_room(options.get("timeout"))
        connection.drain_events(**options)
        sock = connection.sock
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        # What can be read under TLS need not be a frame.
        secure = isinstance(sock, ssl.SSLSocket)
        rest = {"timeout": 0.001} if secure else {}
        given = 1
        with suppress(TimeoutError):
            for _ in range(FRAMES):
                if given == MOST or not sizes.may_read():
                    break
                if not ((secure and sock.pending()) or poll.poll(0)):
                    break
                # Frame by frame: behind one that is no message, such as a
                # heartbeat, there may be nothing for long.
                given += bool(connection.blocking_read(**rest))


class SSLTransport(Transport, pyamqp.SSLTransport):
    """The same for amqps:// addresses."""
