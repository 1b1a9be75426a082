"""Brokers as RabbitMQ behaves: exchanges, queues, and who reads them.

What was delivered and not acknowledged comes again, in its old place. Of a
queue with a single active consumer, one reads.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from amqp import exceptions

from played.scheduler import Scheduler


@dataclass(eq=False, slots=True)
class Letter:
    """A message as the broker keeps it."""

    body: bytes
    properties: Mapping[str, Any]
    exchange: str
    key: str
    sent_at: float
    place: int
    redelivered: bool = False

    @property
    def lasts(self) -> bool:
        """Whether it outlives the broker."""
        return bool(self.properties.get("delivery_mode") == 2)


@dataclass(eq=False)
class Queue:
    """A queue: those ready first, who reads, and its limits."""

    name: str
    durable: bool
    arguments: Mapping[str, Any]
    owner: Any = None
    """Whose it is, if it is exclusive."""
    ready: deque[Letter] = field(default_factory=deque)
    readers: list["Reader"] = field(default_factory=list)
    used_at: float = 0.0
    dropped: int = 0
    most_bytes: int = 0
    """The most that were ever ready."""
    losing: int = 0
    """How many of the next messages it loses."""
    thief: Callable[[bytes, Mapping[str, Any]], None] | None = None
    """Who gets what it loses."""

    def put_back(self, letters: list[Letter]) -> None:
        """Takes back what was not acknowledged, to its old place."""
        for letter in letters:
            letter.redelivered = True
        merged = sorted([*letters, *self.ready], key=lambda one: one.place)
        self.ready = deque(merged)

    def keep_to_limit(self) -> None:
        """Drops what has waited longest, if there is too much."""
        size = sum(len(letter.body) for letter in self.ready)
        limit = self.arguments.get("x-max-length-bytes")
        while limit is not None and size > limit:
            size -= len(self.ready.popleft().body)
            self.dropped += 1
        self.most_bytes = max(self.most_bytes, size)


@dataclass(eq=False)
class Reader:
    """A consumer of a queue."""

    channel: Any
    queue: Queue
    tag: str
    callback: Callable[[Any], object]


class Broker:
    """One region's broker."""

    def __init__(self, name: str, scheduler: Scheduler) -> None:
        self.name = name
        self.scheduler = scheduler
        self.up = True
        self.exchanges: dict[str, bool] = {}
        """Whether each is durable."""
        self.queues: dict[str, Queue] = {}
        self.bindings: list[tuple[str, str, str]] = []
        """Exchange, key, queue."""
        self.connections: list[Any] = []
        self.closed_to: set[str] = set()
        """Hosts that cannot reach it."""
        self._places = 0
        known[name.lower()] = self

    def stop(self) -> None:
        """Stops; what is durable lasts."""
        self.up = False
        for connection in list(self.connections):
            connection.snap()
        for queue in list(self.queues.values()):
            if not queue.durable:
                self.delete(queue.name)
            queue.ready = deque(one for one in queue.ready if one.lasts)
        self.exchanges = {n: d for n, d in self.exchanges.items() if d}

    def delete(self, name: str) -> None:
        """Deletes a queue, with all that is in it."""
        queue = self.queues.pop(name, None)
        self.bindings = [one for one in self.bindings if one[2] != name]
        for reader in queue.readers if queue else ():
            reader.channel.connection.snap()

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: Mapping[str, Any],
    ) -> int:
        """Routes a message; returns to how many queues."""
        if exchange not in self.exchanges:
            raise exceptions.NotFound(f"no exchange {exchange!r}", (60, 40))
        names = {
            queue: None
            for of, bound, queue in self.bindings
            if of == exchange and bound in {key, "#"}
        }
        for name in names:
            queue = self.queues[name]
            self._places += 1
            if queue.losing:
                queue.losing -= 1
                if queue.thief is not None:
                    queue.thief(body, properties)
                continue
            queue.ready.append(
                Letter(
                    body,
                    properties,
                    exchange,
                    key,
                    self.scheduler.now,
                    self._places,
                )
            )
            queue.keep_to_limit()
            self.pump(queue)
        return len(names)

    def declare(
        self,
        name: str,
        *,
        passive: bool,
        durable: bool,
        arguments: Mapping[str, Any],
        owner: Any,
    ) -> Queue:
        """Returns a queue, which is made if need be."""
        queue = self.queues.get(name)
        if queue is None:
            if passive:
                raise exceptions.NotFound(f"no queue {name!r}", (50, 10))
            queue = Queue(name, durable, dict(arguments), owner)
            self.queues[name] = queue
        elif not passive:
            self._require_same(queue, durable, arguments)
        self.use(queue)
        return queue

    @staticmethod
    def _require_same(
        queue: Queue, durable: bool, arguments: Mapping[str, Any]
    ) -> None:
        for name in sorted({*queue.arguments, *arguments}):
            if queue.arguments.get(name) != arguments.get(name):
                raise exceptions.PreconditionFailed(
                    f"inequivalent arg '{name}'", (50, 10)
                )
        if queue.durable != durable:
            raise exceptions.PreconditionFailed(
                "inequivalent arg 'durable'", (50, 10)
            )

    def use(self, queue: Queue) -> None:
        """Notes that a queue is in use; looks later whether it still is."""
        queue.used_at = self.scheduler.now
        milliseconds = queue.arguments.get("x-expires")
        if milliseconds is None:
            return
        expires = queue.used_at + milliseconds / 1000

        def look() -> None:
            still = self.queues.get(queue.name) is queue
            if not still or queue.readers:
                return
            if queue.used_at + milliseconds / 1000 <= self.scheduler.now:
                self.scheduler.trace(f"{self.name}: {queue.name} expires")
                self.delete(queue.name)

        self.scheduler.at(expires, look)

    def pump(self, queue: Queue) -> None:
        """Delivers what is ready, as far as somebody takes it."""
        ttl = queue.arguments.get("x-message-ttl")
        while queue.ready and queue.readers:
            if ttl is not None:
                oldest = self.scheduler.now - ttl / 1000
                if queue.ready[0].sent_at < oldest:
                    queue.ready.popleft()
                    continue
            reader = queue.readers[0]
            if not reader.channel.has_room:
                return
            if not queue.arguments.get("x-single-active-consumer"):
                queue.readers.append(queue.readers.pop(0))
            reader.channel.deliver(reader, queue.ready.popleft())


known: dict[str, Broker] = {}
