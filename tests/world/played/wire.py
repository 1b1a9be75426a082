"""A client's connection to a broker, and what may happen to it.

What a client sends travels in order, and is lost with the connection; so are
acknowledgements, and answers on their way back.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from amqp import exceptions

from played.brokers import Broker, Reader
from played.scheduler import Process, Task

T = TypeVar("T")

MOST = 100
"""Messages given out at a time, as `broker.transport` does."""

MISSED = 40.0
"""Seconds of silence after which a connection counts as dead."""


class Connection:
    """A client's connection to a broker."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.broker = broker
        self.process = process
        self.broken = False
        self._noticed = False
        """Whether the client knows that it is broken."""
        self.stalled_since: float | None = None
        self.channels: list[Any] = []
        self.arrived: deque[tuple[Reader, Any]] = deque()
        self.server_properties = {"version": "4.0.0"}
        self._scheduler = broker.scheduler
        self._reading: Task | None = None
        self._asking: Task | None = None
        self._out_at = 0.0
        self._in_at = 0.0
        self._held: list[Callable[[], None]] = []
        broker.connections.append(self)
        process.at_death.append(self.snap)

    # The network.

    def snap(self) -> None:
        """Is cut: whatever travels is lost, and the broker takes back."""
        if self.broken:
            return
        self.broken = True
        if self in self.broker.connections:
            self.broker.connections.remove(self)
        if self.process.alive:
            self.process.at_death.remove(self.snap)
        for channel in self.channels:
            channel.give_back()
        for name, queue in list(self.broker.queues.items()):
            if queue.owner is self:
                self.broker.delete(name)
        self._wake()
        if self._asking is not None:
            self._scheduler.wake(self._asking)

    def stall(self) -> None:
        """Carries nothing any more, without a word to either side."""
        if self.broken or self.stalled_since is not None:
            return
        since = self.stalled_since = self._scheduler.now

        def give_up() -> None:
            # The broker does so by its own heartbeats.
            if self.stalled_since == since:
                self.snap()

        self._scheduler.at(since + 1.5 * MISSED, give_up)

    def resume(self) -> None:
        """Carries again what has waited."""
        self.stalled_since = None
        held, self._held = self._held, []
        for act in held:
            self._scheduler.at(self._scheduler.now, act)

    def _carry(self, when: float, act: Callable[[], None]) -> None:
        def arrive() -> None:
            if self.stalled_since is not None:
                self._held.append(arrive)
            elif not self.broken:
                act()

        self._scheduler.at(when, arrive)

    def send(self, act: Callable[[], None]) -> None:
        """Sends what nobody answers."""
        self.require()
        travel = self._scheduler.travel()
        self._out_at = max(self._out_at, self._scheduler.now + travel)
        self._carry(self._out_at, act)

    def call(self, act: Callable[[], T], seconds: float = 20.0) -> T:
        """Asks the broker for something, and waits for its answer.

        :raises TimeoutError: none has come.
        """
        self.require()
        answer: list[T | Exception] = []
        task = self._scheduler.current
        assert task is not None

        def ask() -> None:
            try:
                answer.append(act())
            except exceptions.AMQPError as error:
                answer.append(error)
            back = self._scheduler.now + self._scheduler.travel()
            self._in_at = max(self._in_at, back)
            self._carry(self._in_at, lambda: self._scheduler.wake(task))

        travel = self._scheduler.travel()
        self._out_at = max(self._out_at, self._scheduler.now + travel)
        self._carry(self._out_at, ask)
        self._asking = task
        in_time = self._scheduler.park(seconds)
        self._asking = None
        self.require()
        if not in_time or not answer:
            raise TimeoutError("timed out")
        found = answer[0]
        if isinstance(found, Exception):
            raise found
        return found

    def bring(self, reader: "Reader", message: Any) -> None:
        """Carries a message to the client."""
        back = self._scheduler.now + self._scheduler.travel()
        self._in_at = max(self._in_at, back)

        def arrive() -> None:
            self.arrived.append((reader, message))
            self._wake()

        self._carry(self._in_at, arrive)

    def _wake(self) -> None:
        if self._reading is not None:
            self._scheduler.wake(self._reading)

    def require(self) -> None:
        """Makes sure that it is not known to be broken.

        :raises ConnectionResetError: it is.
        """
        if self.broken:
            self._noticed = True
            raise ConnectionResetError("connection reset by peer")

    # What kombu asks of a connection.

    @property
    def connected(self) -> bool:
        """Whether the client takes it for one.

        Of one that is not, kombu makes another in silence, which reads
        nothing: whoever uses it has to have met with the error first.
        """
        return not self._noticed

    def drain_events(self, timeout: float | None = None) -> None:
        """Gives out what has come, or waits for it.

        :raises TimeoutError: nothing has.
        """
        self.require()
        if not self.arrived:
            self._reading = self._scheduler.current
            self._scheduler.park(timeout)
            self._reading = None
            self.require()
        if not self.arrived:
            raise TimeoutError("timed out")
        for _ in range(min(MOST, len(self.arrived))):
            reader, message = self.arrived.popleft()
            reader.callback(message)

    def beat(self) -> None:
        """Looks whether the broker is still heard.

        :raises ConnectionForced: it is not.
        """
        self.require()
        since = self.stalled_since
        if since is not None and self._scheduler.now - since > MISSED:
            raise exceptions.ConnectionForced("Too many heartbeats missed")

    def close(self) -> None:
        """Says good-bye."""
        self.snap()
