"""The stand that everything is measured on: servers, regions, notifications.

One RabbitMQ and one MariaDB of our own, as the tests start them; regions are
virtual hosts and databases there, and their agents are real processes.
"""

import json
import os
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kombu
import pymysql
import sqlalchemy as sa
from fleet import Region, captured
from oslo_config import cfg
from servers import MariaDB, RabbitMQ

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import oslo_messaging

CELL = "cell1"
OURS = "ours"
"""The queue that our own listener reads."""
TICKS = os.sysconf("SC_CLK_TCK")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    rounds: int
    messages: int
    """Notifications of one round of ingest."""
    claims: int
    """Claims of one round of what a follower applies."""
    images: int
    """What the large ledger holds."""
    creates: int
    """Images of which the delay is measured."""


QUICK = Size(rounds=1, messages=1200, claims=5000, images=5000, creates=10)
NORMAL = Size(
    rounds=5, messages=5000, claims=50_000, images=200_000, creates=300
)
FULL = Size(
    rounds=7, messages=10_000, claims=100_000, images=1_000_000, creates=600
)


class Stand:
    """Servers, and what is built on them."""

    def __init__(
        self, rabbit: RabbitMQ, mariadb: MariaDB, directory: Path, say: Say
    ) -> None:
        self.rabbit = rabbit
        self.mariadb = mariadb
        self.directory = directory
        self.say = say
        give_room(mariadb)

    def region(self, name: str, mariadb: MariaDB | None = None) -> Region:
        """Make a region with one cell; it is not configured yet.

        Its databases are on the server that all share, or on another.
        """
        region = Region(
            name, self.rabbit, mariadb or self.mariadb, self.directory
        )
        for cell in set(region.cells) - {CELL}:
            del region.cells[cell]
        # Its readers have queues that a region's own account may not have.
        self.rabbit.grant(region.vhost, {region.account: (".*",) * 3})
        return region

    def pair(self, name: str) -> tuple[Region, Region]:
        """Make two regions that are each other's peers."""
        one, two = self.region(f"{name}A"), self.region(f"{name}B")
        one.configure(two)
        two.configure(one)
        return one, two

    def server_cpu(self) -> float:
        """Give the seconds of CPU that both servers have used."""
        return sum(cpu(s.pid) for s in (self.rabbit, self.mariadb) if s.pid)


def give_room(mariadb: MariaDB) -> None:
    """Let a server keep its data in memory, as an operator would.

    The tests' servers have less.
    """
    mariadb.execute("SET GLOBAL innodb_buffer_pool_size = 2048 * 1048576")
    mariadb.execute("SET GLOBAL innodb_log_file_size = 256 * 1048576")


def cpu(pid: int) -> float:
    """Give the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> float:
    """Give the resident memory of a process, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def in_turns(names: Iterable[str], turn: int) -> list[str]:
    """Give the names, beginning with another one each time."""
    names = list(names)
    start = turn % len(names)
    return names[start:] + names[:start]


class Notifier:
    """Glance's side: oslo.messaging's Notifier, and a payload of Glance's."""

    def __init__(self, url: str) -> None:
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        oslo_messaging.set_transport_defaults(control_exchange="glance")
        self._notifier = oslo_messaging.Notifier(
            oslo_messaging.get_notification_transport(conf, url=url),
            driver="messagingv2",
            publisher_id="image.localhost",
            topics=["notifications"],
        )
        self._payload: dict[str, Any] = next(
            e.message["payload"]
            for e in captured(1)
            if e.message["event_type"] == "image.create"
            and e.message["payload"]["container_format"]
        )

    def create(self, image: str) -> None:
        """Announce an image."""
        self._notifier.info({}, "image.create", self._payload | {"id": image})

    def create_many(self, count: int) -> None:
        """Announce new images."""
        for _ in range(count):
            self.create(str(uuid.uuid4()))


@contextmanager
def channel(region: Region) -> Iterator[Any]:
    """Give a channel on a region's broker."""
    with kombu.Connection(region.bus_url, connect_timeout=5) as connection:
        connection.connect()
        yield connection.channel()


def bind(
    region: Region, exchange: str, key: str, queue: str, *, durable: bool
) -> None:
    """Declare a queue that gets a copy of what is published."""
    with channel(region) as open_channel:
        kombu.Queue(
            queue,
            kombu.Exchange(exchange, "topic", durable=durable),
            key,
            durable=durable,
        )(open_channel).declare()


def purge(region: Region, *queues: str) -> None:
    """Empty queues."""
    with channel(region) as open_channel:
        for queue in queues:
            open_channel.queue_purge(queue)


class Progress:
    """How far a region has come, asked often and cheaply."""

    def __init__(self, region: Region, cursors: Iterable[str]) -> None:
        url = sa.make_url(region.ledger)
        assert url.host
        self._cursors = list(cursors)
        self._connection = pymysql.connect(
            host=url.host,
            port=url.port or 3306,
            user="root",
            database=url.database,
            autocommit=True,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def total(self) -> int:
        """Count the claims in the ledger."""
        return self._head()[0]

    def _head(self) -> tuple[int, int]:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT total_count, revision FROM head")
            row: tuple[int, int] = cursor.fetchone()
            return row

    def done(self, total: int) -> bool:
        """Tell whether so many claims have taken effect everywhere."""
        count, revision = self._head()
        if count < total:
            return False
        names = ", ".join(f"'{name}'" for name in self._cursors)
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) FROM cursors WHERE revision >= "
                f"{revision} AND name IN ({names})"
            )
            return bool(cursor.fetchone()[0] == len(self._cursors))

    def await_done(
        self, total: int, seconds: float, pause: float = 0.005
    ) -> None:
        """Wait for that; to ask takes the server a little each time."""
        deadline = time.monotonic() + seconds
        while not self.done(total):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._head()} instead of {total}")
            time.sleep(pause)


class Held:
    """Messages of a queue that are kept back, and let go all at once.

    A reader is to be warm when they come, and nobody is to publish while it
    is measured. Rejected messages are what a broker moves by itself.
    """

    def __init__(self, region: Region, exchange: str, key: str) -> None:
        self._connection = kombu.Connection(region.bus_url)
        self._channel = self._connection.channel()
        self._queue = kombu.Queue(
            "held",
            kombu.Exchange(exchange, "topic", durable=False),
            key,
            durable=False,
            queue_arguments={
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": OURS,
            },
        )(self._channel)
        self._queue.declare()
        self._tags: list[int] = []
        kombu.Consumer(
            self._channel,
            [self._queue],
            on_message=lambda m: self._tags.append(m.delivery_tag),
        ).consume()

    def take(self, count: int) -> None:
        """Wait until so many have come."""
        while len(self._tags) < count:
            self._connection.drain_events(timeout=60)

    @property
    def count(self) -> int:
        """How many are kept back."""
        return len(self._tags)

    def let_one_go(self) -> None:
        """Move the first one into the queue that is read."""
        self._channel.basic_reject(self._tags.pop(0), requeue=False)

    def let_go(self) -> None:
        """Move all the others."""
        # RabbitMQ's basic.nack, which py-amqp has no method for: up to this
        # one (multiple), and not back into the same queue (requeue).
        self._channel.send_method(
            (60, 120), "Lbb", (self._tags[-1], True, False)
        )
        self._tags.clear()


@dataclass(frozen=True, kw_only=True)
class Drained:
    """How fast a region's agent has taken in what came all at once."""

    rate: float
    cpu: dict[str, float]
    """Microseconds for each claim, by service and for both servers."""


@contextmanager
def warm(
    region: Region, progress: Progress, prime: Callable[[], None]
) -> Iterator[None]:
    """Run an agent whose services have all seen what ``prime`` claims."""
    total = progress.total() + 1
    region.start()
    try:
        prime()
        progress.await_done(total, 180)
        yield
    except TimeoutError:
        print(region.log()[-4000:])
        raise
    finally:
        region.stop()


def drain(
    stand: Stand,
    region: Region,
    progress: Progress,
    total: int,
    begin: Callable[[], None],
) -> Drained:
    """Measure from when messages come until the last row is there.

    ``total`` is what the ledger holds then.
    """
    before = progress.total()
    processes = region.processes()
    used = {pid: cpu(pid) for pid in processes}
    servers = stand.server_cpu()
    begun = time.monotonic()
    begin()
    progress.await_done(total, 300)
    seconds = time.monotonic() - begun
    count = total - before
    spent = dict.fromkeys(processes.values(), 0.0)
    for pid, name in processes.items():
        spent[name] += cpu(pid) - used[pid]
    spent["servers"] = stand.server_cpu() - servers
    return Drained(
        rate=count / seconds,
        cpu={name: s / count * 1e6 for name, s in spent.items()},
    )


HERE = Path(__file__).parent
CONSUMERS = (sys.executable, HERE / "consumers.py")


class Consumer:
    """Another reader as a process: one of consumers.py, or a program."""

    def __init__(
        self,
        kind: str,
        program: Sequence[str | Path] = CONSUMERS,
        **options: object,
    ) -> None:
        self._process = subprocess.Popen(
            [*program, kind, json.dumps(options)],
            # Also under PYTHONSAFEPATH: it imports what lies beside it.
            env=os.environ | {"PYTHONPATH": str(HERE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        while self._read() != "ready\n":
            pass  # what libraries print

    def __enter__(self) -> "Consumer":
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def result(self) -> dict[str, float]:
        """Wait for what it has seen."""
        found: dict[str, float] = json.loads(self._read())
        return found

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a consumer has ended: {self._process.args!r}")
        return line
