"""What oslo.messaging does between a broker and the package's Listener.

Its threads are tasks here; batches, and what becomes of them, are those of
the package's own `broker.batches.BatchServer`.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

# What runs a server of oslo.messaging, which would load it while a world is
# played: it looks at the thread that it finds itself in.
import futurist  # noqa: F401
import kombu

from ec2map_sync.broker import carriers, link
from ec2map_sync.broker.batches import BatchServer
from ec2map_sync.glance import intake
from ec2map_sync.glance.broker import PRIORITIES, broker_address
from played import nature

PAUSE = 2.0
"""Seconds between two attempts to reach the broker."""

PATIENCE = 5.0


class Carrier(carriers._Carrier):
    """A message that has brought a notification."""

    @property
    def lapsed(self) -> bool:  # type: ignore[override]
        """Whether its connection is gone."""
        return bool(self.channel.connection.broken)


class Incoming:
    """As oslo.messaging hands a notification over."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.message = carrier.decode()

    def acknowledge(self) -> None:
        """Tells the broker, which brings it again if it does not hear."""
        with suppress(*link.BROKEN):
            self._carrier.ack()

    def requeue(self) -> None:
        """Gives it back."""
        with suppress(*link.BROKEN):
            self._carrier.requeue()


class Executor:
    """One thread for all that is submitted, in order."""

    def __init__(self) -> None:
        self._jobs: list[Callable[[], None]] = []
        self._more = nature.Event()
        self._stopped = False
        self._thread = nature.Thread(self._run, "recorder")
        self._thread.start()

    def submit(self, work: Callable[..., None], *args: Any) -> "Executor":
        """Has something done."""
        self._jobs.append(lambda: work(*args))
        self._more.set()
        return self

    def add_done_callback(self, _call: object) -> None:
        """Takes note of nothing."""

    def _run(self) -> None:
        while not self._stopped:
            self._more.wait()
            self._more.clear()
            while self._jobs:
                self._jobs.pop(0)()

    def shutdown(self) -> None:
        """Ends it, after what is at hand."""
        self._stopped = True
        self._more.set()
        self._thread.join()


class Server(BatchServer):
    """Reads the queues of a topic, and reconnects for ever."""

    def __init__(
        self,
        transport: Any,
        address: Any,
        queues: Sequence[tuple[str, str]],
        recorder: Any,
        **options: Any,
    ) -> None:
        super().__init__(transport, [], recorder, **options)
        self._address = address
        self._queues = queues
        self._prefetch = max(100, 2 * self._most)
        self._ending = nature.Event()

    def start(self, **_size: int) -> None:
        """Begins."""
        self._work_executor = Executor()
        self._thread = nature.Thread(self._read, "notifications")
        self._thread.start()

    def stop(self) -> None:
        """Ends."""
        self._ending.set()

    def wait(self) -> None:
        """Returns when it has ended."""
        self._work_executor.shutdown()
        self._thread.join()

    def _read(self) -> None:
        while not self._ending.is_set():
            connection = None
            try:
                connection = link.connect(self._address)
                self._consume(connection)
                while not self._ending.is_set():
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=PATIENCE)
                    connection.heartbeat_check()
            except link.BROKEN:
                self._ending.wait(PAUSE)
            finally:
                if connection is not None:
                    with suppress(*link.BROKEN):
                        connection.release()

    def _consume(self, connection: kombu.Connection) -> None:
        channel: Any = connection.default_channel
        channel.Message = Carrier
        channel.basic_qos(0, self._prefetch, False)
        for exchange, name in self._queues:
            channel.exchange_declare(exchange, "topic", passive=True)
            channel.queue_declare(name, durable=True, arguments={})
            channel.queue_bind(name, exchange, name)
            channel.basic_consume(name, name, self._take)

    def _take(self, message: Carrier) -> None:
        self._on_incoming([Incoming(message)])


def install(addresses: Callable[[Any], Any] = broker_address) -> None:
    """Lets the package's Listener listen through us."""

    def server(transport: Any, recorder: Any, options: Any) -> Server:
        queues = [
            (options.exchange, f"{topic}.{priority}")
            for topic in options.topics
            for priority in PRIORITIES
        ]
        return Server(
            transport,
            addresses(transport.conf),
            queues,
            recorder,
            allow_requeue=True,
            pool=options.pool,
            batch_size=options.batch_size,
            batch_timeout=options.batch_timeout,
        )

    intake.server = server
