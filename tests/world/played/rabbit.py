"""A transport of kombu's that leads to brokers which are played.

Everything above the channel is the package's own code, and kombu's.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import amqp
import kombu.transport
from amqp import exceptions
from kombu.message import Message
from kombu.transport import base

from played import brokers, nature
from played.brokers import Broker, Letter, Queue, Reader
from played.faults import Broken, passing
from played.wire import Connection

T = TypeVar("T")


class Channel(base.StdChannel):
    """A channel: what it has delivered, and who reads by it."""

    Message = Message

    def __init__(self, connection: Connection) -> None:
        self.connection: Any = connection
        self.connection.channels.append(self)
        self.prefetch = 0
        self.given: dict[int, tuple[Reader | None, Letter, Queue]] = {}
        self.readers: list[Reader] = []
        self._tags = 0
        self.is_open = True

    # What the broker does.

    @property
    def has_room(self) -> bool:
        """Whether more may be delivered."""
        return not self.prefetch or len(self.given) < self.prefetch

    def deliver(self, reader: Reader, letter: Letter) -> None:
        """Sends a message to the client, to be acknowledged."""
        self._tags += 1
        self.given[self._tags] = (reader, letter, reader.queue)
        self.connection.bring(
            reader, self._message(letter, self._tags, reader.tag)
        )

    def _message(self, letter: Letter, tag: int, reader: str) -> Any:
        properties = dict(letter.properties)
        return self.Message(
            body=letter.body,
            channel=self,
            delivery_tag=tag,
            content_type=properties.get("content_type"),
            content_encoding=properties.get("content_encoding"),
            delivery_info={
                "consumer_tag": reader,
                "exchange": letter.exchange,
                "routing_key": letter.key,
                "redelivered": letter.redelivered,
            },
            properties=properties,
            headers=dict(properties.get("application_headers") or {}),
        )

    def give_back(self) -> None:
        """Takes back what is not acknowledged, and forgets who reads."""
        broker: Broker = self.connection.broker
        given, self.given = self.given, {}
        readers, self.readers = self.readers, []
        queues: dict[Queue, list[Letter]] = {}
        for reader in readers:
            reader.queue.readers.remove(reader)
            queues[reader.queue] = []
        for _, letter, queue in given.values():
            queues.setdefault(queue, []).append(letter)
        for queue, letters in queues.items():
            if broker.queues.get(queue.name) is queue:
                queue.put_back(letters)
                broker.use(queue)
                broker.pump(queue)

    def _settle(self, tag: int, multiple: bool, requeue: bool) -> None:
        tags = [one for one in self.given if one <= tag] if multiple else [tag]
        for one in tags:
            found = self.given.pop(one, None)
            if found is None:
                raise exceptions.PreconditionFailed("unknown delivery tag")
            _, letter, queue = found
            broker: Broker = self.connection.broker
            if requeue and broker.queues.get(queue.name) is queue:
                queue.put_back([letter])
            broker.pump(queue)

    # What the client asks.

    def _struck(self, point: str, act: Callable[[], T]) -> T:
        connection: Connection = self.connection
        try:
            return passing(nature.scheduler(), connection.process, point, act)
        except Broken:
            connection.snap()
            raise ConnectionResetError("connection reset by peer") from None

    def _call(self, act: Callable[[], T]) -> T:
        try:
            found: T = self._struck("call", lambda: self.connection.call(act))
        except exceptions.ChannelError:
            self.give_back()  # the broker closes it; it is opened again
            raise
        return found

    def exchange_declare(
        self,
        exchange: str,
        type: str,
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = False,
        **_options: Any,
    ) -> None:
        """Declares an exchange."""
        broker: Broker = self.connection.broker

        def act() -> None:
            known = broker.exchanges.get(exchange)
            if known is None and passive:
                raise exceptions.NotFound(
                    f"no exchange '{exchange}' in vhost '/'", (40, 10)
                )
            if known is not None and not passive and known != durable:
                raise exceptions.PreconditionFailed(
                    "inequivalent arg 'durable'", (40, 10)
                )
            if known is None:
                broker.exchanges[exchange] = durable

        assert type == "topic"
        assert not auto_delete
        self._call(act)

    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        arguments: Mapping[str, Any] | None = None,
        **_options: Any,
    ) -> Any:
        """Declares a queue; returns its name, and what is in it."""
        broker: Broker = self.connection.broker

        def act() -> Any:
            found = broker.declare(
                queue,
                passive=passive,
                durable=durable,
                arguments=arguments or {},
                owner=self.connection if exclusive else None,
            )
            return amqp.protocol.queue_declare_ok_t(
                queue, len(found.ready), len(found.readers)
            )

        return self._call(act)

    def queue_bind(
        self, queue: str, exchange: str, routing_key: str, **_options: Any
    ) -> None:
        """Binds a queue."""
        broker: Broker = self.connection.broker

        def act() -> None:
            if queue not in broker.queues or exchange not in broker.exchanges:
                raise exceptions.NotFound("no queue, or no exchange", (50, 20))
            bound = (exchange, routing_key, queue)
            if bound not in broker.bindings:
                broker.bindings.append(bound)

        self._call(act)

    def queue_delete(self, queue: str, **_options: Any) -> None:
        """Deletes a queue."""
        self._call(lambda: self.connection.broker.delete(queue))

    def basic_qos(self, _size: int, count: int, _global: bool) -> None:
        """Lets so many be delivered before any is acknowledged."""

        def act() -> None:
            self.prefetch = count

        self._call(act)

    def basic_consume(
        self,
        queue: str,
        consumer_tag: str = "",
        callback: Callable[[Any], object] = lambda _message: None,
        **_options: Any,
    ) -> None:
        """Reads a queue from now on."""
        broker: Broker = self.connection.broker

        def act() -> None:
            found = broker.queues.get(queue)
            if found is None:
                raise exceptions.NotFound(f"no queue {queue!r}", (60, 20))
            reader = Reader(self, found, consumer_tag, callback)
            found.readers.append(reader)
            self.readers.append(reader)
            broker.pump(found)

        self._call(act)

    def basic_get(self, queue: str, **_options: Any) -> Any:
        """Takes one message, if there is one."""
        broker: Broker = self.connection.broker

        def act() -> Any:
            found = broker.queues.get(queue)
            if found is None:
                raise exceptions.NotFound(f"no queue {queue!r}", (60, 70))
            if found.arguments.get("x-single-active-consumer"):
                raise exceptions.ResourceLocked(
                    "has a single active consumer", (60, 70)
                )
            if not found.ready:
                return None
            letter = found.ready.popleft()
            self._tags += 1
            self.given[self._tags] = (None, letter, found)
            return self._message(letter, self._tags, "")

        return self._call(act)

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        """Says that messages have taken effect, to nobody's answer."""
        self._struck(
            "acknowledge",
            lambda: self.connection.send(
                lambda: self._settle(tag, multiple, requeue=False)
            ),
        )

    def basic_reject(self, tag: int, requeue: bool = False) -> None:
        """Gives a message back."""
        self.connection.send(
            lambda: self._settle(tag, multiple=False, requeue=requeue)
        )

    def prepare_message(
        self,
        body: bytes,
        _priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        headers: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> Any:
        """Returns a message to publish."""
        return body, {
            "content_type": content_type,
            "content_encoding": content_encoding,
            "application_headers": dict(headers or {}),
            **(properties or {}),
        }

    def basic_publish(
        self,
        message: Any,
        exchange: str,
        routing_key: str,
        confirm_timeout: float = 30.0,
        **_options: Any,
    ) -> None:
        """Publishes; returns when the broker has confirmed."""
        body, properties = message
        connection: Connection = self.connection
        self._struck(
            "send",
            lambda: connection.call(
                lambda: connection.broker.publish(
                    exchange, routing_key, body, properties
                ),
                confirm_timeout,
            ),
        )

    def close(self) -> None:
        """Closes it; what was not acknowledged comes again."""
        if self in self.connection.channels:
            self.connection.channels.remove(self)
            self.give_back()
            self.is_open = False


class Transport(base.Transport):
    """What kombu reaches a broker by."""

    default_port = 5672
    driver_name = driver_type = "played"
    connection_errors = amqp.Connection.connection_errors
    channel_errors = amqp.Connection.channel_errors
    recoverable_connection_errors = (
        amqp.Connection.recoverable_connection_errors
    )
    recoverable_channel_errors = amqp.Connection.recoverable_channel_errors

    def establish_connection(self) -> Connection:
        """Connects, to the broker that is named as the host is."""
        client: Any = self.client
        broker = brokers.known[client.hostname.lower()]
        task = nature.current()
        assert task is not None
        scheduler = nature.scheduler()
        if task.process.host in broker.closed_to:
            scheduler.park(client.connect_timeout)
            raise TimeoutError("timed out")
        scheduler.park(2 * scheduler.travel())
        if not broker.up:
            raise ConnectionRefusedError("connection refused")
        return Connection(broker, task.process)

    def create_channel(self, connection: Connection) -> Channel:
        """Opens a channel."""
        return connection.call(lambda: Channel(connection))

    def drain_events(self, connection: Connection, **options: Any) -> None:
        """Gives out messages."""
        connection.drain_events(**options)

    def verify_connection(self, connection: Connection) -> bool:
        """Returns whether it is one."""
        return connection.connected

    def heartbeat_check(self, connection: Connection, **_rate: int) -> None:
        """Looks whether the broker is heard."""
        connection.beat()

    def close_connection(self, connection: Connection) -> None:
        """Closes it."""
        connection.close()


def install() -> None:
    """Lets every amqp:// address lead here."""
    here = f"{__name__}:Transport"
    kombu.transport.TRANSPORT_ALIASES["amqp"] = here
