"""Brokers in memory, and links with the methods of `ec2map_sync.peers.bus`."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulation.faults import Fuse, Outage

QUESTION_SECONDS = 60.0
"""As `peers.bus.Inbox` has it: nobody waits longer for an answer."""


@dataclass(eq=False, slots=True)
class Message:
    """What `kombu` hands over, as far as the package looks at it."""

    headers: Mapping[str, Any]
    body: bytes
    sent_at: float

    @property
    def kind(self) -> str:
        """The type of the message."""
        return str(self.headers["type"])


@dataclass(eq=False)
class Queue:
    """A queue that drops its head, with a single active consumer."""

    limit: int
    waiting: deque[Message] = field(default_factory=deque)
    consumers: list["Connection"] = field(default_factory=list)
    dropped: int = 0

    def put(self, message: Message) -> None:
        """Take a message in; the oldest one goes if there are too many."""
        self.waiting.append(message)
        while len(self.waiting) > self.limit:
            self.waiting.popleft()
            self.dropped += 1


@dataclass(eq=False)
class Broker:
    """One region's broker."""

    name: str
    limit: int
    up: bool = True
    queues: dict[str, Queue] = field(default_factory=dict)
    """By the region that reads; that of questions by an empty name."""

    def queue(self, reader: str) -> Queue:
        """Declare a queue."""
        return self.queues.setdefault(reader, Queue(self.limit))

    def route(self, routing_key: str, message: Message) -> None:
        """Put a message into the queues that are bound for it."""
        only = routing_key.partition(".")[2]
        for reader, queue in self.queues.items():
            if reader and (not only or reader == only):
                queue.put(message)


@dataclass(eq=False)
class Connection:
    """One process at one broker."""

    user: str
    broker: Broker
    queue: Queue | None = None
    unacknowledged: list[Message] = field(default_factory=list)
    broken: bool = False

    def drop(self) -> None:
        """Give back what was not acknowledged, in its old place."""
        self.broken = True
        if self.queue is not None:
            self.queue.waiting.extendleft(reversed(self.unacknowledged))
            self.unacknowledged.clear()
            if self in self.queue.consumers:
                self.queue.consumers.remove(self)


class Network:
    """All brokers, who is connected to them, and who cannot be."""

    def __init__(self, fuse: Fuse, clock: Callable[[], float]) -> None:
        self.fuse = fuse
        self.clock = clock
        self.brokers: dict[str, Broker] = {}
        self.cuts: set[tuple[str, str]] = set()
        """Pairs (who, at whose broker) that cannot connect."""
        self.connections: list[Connection] = []
        self.loses_questions = False
        self.asked: dict[str, int] = {}
        """How many questions each region has asked."""

    def connect(self, user: str, owner: str) -> Connection:
        """Connect a process of one region to the broker of another."""
        broker = self.brokers[owner]
        if not broker.up or (user, owner) in self.cuts:
            raise Outage(f"{user} cannot reach the broker of {owner}")
        connection = Connection(user, broker)
        self.connections.append(connection)
        return connection

    def cut(self, user: str, owner: str) -> None:
        """Cut one way."""
        self.cuts.add((user, owner))
        self._drop(lambda c: (c.user, c.broker.name) == (user, owner))

    def stop(self, owner: str) -> None:
        """Stop a broker; its queues are durable."""
        self.brokers[owner].up = False
        self._drop(lambda c: c.broker.name == owner)

    def delete(self, owner: str, reader: str) -> None:
        """Delete a queue with all that is in it."""
        queue = self.brokers[owner].queues.pop(reader, None)
        self._drop(lambda c: queue is not None and c.queue is queue)

    def _drop(self, concerned: Callable[[Connection], bool]) -> None:
        for connection in filter(concerned, self.connections):
            connection.drop()
        self.connections = [c for c in self.connections if not c.broken]


class Link:
    """A connection that is opened when needed and dropped after an error."""

    def __init__(self, network: Network, user: str, owner: str) -> None:
        self._network = network
        self._user = user
        self._owner = owner
        self._connection: Connection | None = None

    def open(self) -> Connection:
        """Give the connection, or raise as a broken one does."""
        if self._connection is None:
            self._connection = self._network.connect(self._user, self._owner)
            self._set_up(self._connection)
        if self._connection.broken:
            raise Outage("the connection is closed")
        return self._connection

    def pump(self) -> None:
        """Keep the connection alive."""

    def close(self) -> None:
        """Drop the connection; unacknowledged messages will come again."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.broken:
            connection.drop()
            self._network.connections.remove(connection)

    def _set_up(self, connection: Connection) -> None:
        """Declare what is read, if anything."""

    def _publish(self, act: Callable[[Message], None], *what: Any) -> None:
        message = Message(*what, sent_at=self._network.clock())
        self.open()
        self._network.fuse.on_bus(lambda: act(message))


class Outlet(Link):
    """Publishes on the region's own broker."""

    def __init__(self, network: Network, region: str) -> None:
        super().__init__(network, region, region)

    def send(
        self, routing_key: str, headers: Mapping[str, Any], body: bytes
    ) -> None:
        """Publish a message to the peers that have a queue for it."""
        broker = self._network.brokers[self._owner]
        self._publish(lambda m: broker.route(routing_key, m), headers, body)


class _Source(Link):
    """Reads one queue, a batch at a time."""

    def _reads(self) -> str:
        raise NotImplementedError

    def _set_up(self, connection: Connection) -> None:
        queue = connection.broker.queue(self._reads())
        connection.queue = queue
        queue.consumers.append(connection)

    def read(self, limit: int, _seconds: float) -> list[Message]:
        """Give what has come, ``limit`` at most."""
        connection = self.open()
        queue = connection.queue
        assert queue is not None
        if queue.consumers[0] is not connection:
            return []  # another host of ours is the active consumer
        count = min(limit, len(queue.waiting))
        messages = [queue.waiting.popleft() for _ in range(count)]
        connection.unacknowledged += messages
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Forget messages at the broker."""
        if messages:
            connection = self.open()
            self._network.fuse.on_bus(connection.unacknowledged.clear)


class Inlet(_Source):
    """Reads our queue on a peer's broker, and asks the peer questions."""

    def _reads(self) -> str:
        return self._user

    def ask(self, headers: Mapping[str, Any], body: bytes) -> None:
        """Put a question into the peer's queue."""
        network = self._network
        network.asked[self._user] = network.asked.get(self._user, 0) + 1
        self._publish(self._put_question, headers, body)

    def _put_question(self, message: Message) -> None:
        questions = self._network.brokers[self._owner].queues.get("")
        if questions is not None and not self._network.loses_questions:
            questions.put(message)


class Inbox(_Source):
    """Reads the questions that peers put on our own broker."""

    def __init__(self, network: Network, region: str) -> None:
        super().__init__(network, region, region)

    def _reads(self) -> str:
        return ""

    def read(self, limit: int, seconds: float) -> list[Message]:
        """Give the questions that are still waited for."""
        since = self._network.clock() - QUESTION_SECONDS
        messages = super().read(limit, seconds)
        stale = [m for m in messages if m.sent_at < since]
        connection = self.open()
        for message in stale:
            connection.unacknowledged.remove(message)
        return [m for m in messages if m not in stale]
