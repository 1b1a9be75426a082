"""Regions for tests: real processes, as a user would start them."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import amqp.exceptions
import by_hand
import kombu
import sqlalchemy as sa
from amqp import Channel
from commands import BIN, run
from patience import wait_until, within
from servers import MariaDB, RabbitMQ, find_program

DATA = Path(__file__).parent.parent / "data"
INFO = "notifications.info"
SERVICES = ("listener", "publisher", "follower", "writer")

# As Nova 34's first migration makes it (8f2f1571d55b_initial_version.py).
S3_IMAGES = """
CREATE TABLE s3_images (
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME,
    id INTEGER NOT NULL AUTO_INCREMENT, uuid VARCHAR(36) NOT NULL,
    deleted INTEGER, PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8
"""


# As doc/source/permissions.rst has them; Glance's virtual host and the
# regions' are one here.
OWN_RIGHTS = (
    r"^(glance|notifications\.(info|warn|error)|ec2map_sync(\..*)?)$",
    r"^(notifications\.(info|warn|error)|"
    r"ec2map_sync(\.requests(\.spare)?)?)$",
    r"^(glance|notifications\.(info|warn|error)|"
    r"ec2map_sync\.requests(\.spare)?)$",
)


def peer_rights(peer: str) -> tuple[str, str, str]:
    """Tell what a peer's account may configure, write and read."""
    return (
        rf"^ec2map_sync\.{peer}(\.replay)?$",
        rf"^ec2map_sync\.({peer}(\.replay)?|requests)$",
        rf"^ec2map_sync(\.{peer}(\.replay)?)?$",
    )


def login(url: str, account: str) -> str:
    """Give an address of a broker for another account than guest."""
    return url.replace("guest:guest@", f"{account}:{account}@")


@dataclass(frozen=True)
class Envelope:
    """A notification as Glance has put it on its exchange."""

    region: int
    routing_key: str
    body: str

    @property
    def message(self) -> dict[str, Any]:
        """The notification itself."""
        outer = json.loads(self.body)
        inner = outer.get("oslo.message")
        message: dict[str, Any] = json.loads(inner) if inner else outer
        return message


def captured(region: int) -> list[Envelope]:
    """Give what one of the captured regions has sent, in order."""
    lines = (DATA / "glance_envelopes.jsonl").read_text().splitlines()
    envelopes = (Envelope(**json.loads(line)) for line in lines)
    return [e for e in envelopes if e.region == region]


def created(envelopes: Iterable[Envelope]) -> set[str]:
    """Give the images, as spelled, that these notifications create."""
    return {
        str(e.message["payload"]["id"])
        for e in envelopes
        if e.message["event_type"] == "image.create"
    }


def create_envelope(uuid: str, container_format: str | None = "bare") -> str:
    """Write an image.create as Glance does (shape of the captured ones)."""
    payload: dict[str, object] = {
        "id": uuid,
        "name": "test",
        "status": "queued",
        "container_format": container_format,
        "disk_format": "raw",
        "deleted": False,
        "properties": {},
    }
    message = {
        "message_id": uuid,
        "publisher_id": "image.test",
        "event_type": "image.create",
        "priority": "INFO",
        "payload": payload,
        "timestamp": "2026-01-01 00:00:00.000000",
        "_unique_id": uuid.replace("-", ""),
    }
    return json.dumps(
        {"oslo.version": "2.0", "oslo.message": json.dumps(message)}
    )


class Glance:
    """Glance's side of its broker: exchange, queues, notifications.

    ``durable`` is `[oslo_messaging_rabbit] amqp_durable_queues` of Glance,
    ``quorum`` its `rabbit_quorum_queue`.
    """

    def __init__(
        self,
        rabbit: RabbitMQ,
        vhost: str = "/",
        *,
        durable: bool = False,
        quorum: bool = False,
    ) -> None:
        self._url = rabbit.url(vhost)
        durable = durable or quorum
        self._arguments = {"x-queue-type": "quorum"} if quorum else {}
        self._exchange = kombu.Exchange("glance", "topic", durable=durable)
        self._durable = durable

    @contextmanager
    def notifier(self) -> Iterator[Callable[[str, str], None]]:
        """Give what publishes a body under a routing key, confirmed."""
        with self._channel() as channel:
            producer = kombu.Producer(channel, self._exchange)
            declared = set()

            def notify(key: str, body: str) -> None:
                if key not in declared:
                    self._declare(channel, key)
                    declared.add(key)
                producer.publish(
                    body,
                    routing_key=key,
                    content_type="application/json",
                    content_encoding="utf-8",
                    delivery_mode=2,
                )

            yield notify

    def declare(self) -> None:
        """Declare what Glance declares with its first notification."""
        with self._channel() as channel:
            self._declare(channel, INFO)

    def _declare(self, channel: Channel, key: str) -> None:
        self._exchange(channel).declare()
        queue = kombu.Queue(
            key,
            self._exchange,
            key,
            durable=self._durable,
            queue_arguments=self._arguments,
        )
        queue(channel).declare()

    def send(self, envelopes: Iterable[tuple[str, str]]) -> None:
        """Publish (routing key, body), as a Notifier does."""
        with self.notifier() as notify:
            for key, body in envelopes:
                notify(key, body)

    def create(self, count: int) -> set[str]:
        """Announce so many new images."""
        images = {str(uuid4()) for _ in range(count)}
        self.send((INFO, create_envelope(image)) for image in images)
        return images

    def has_exchange(self) -> bool:
        """Tell whether anybody has declared Glance's exchange."""
        with self._channel() as channel:
            try:
                channel.exchange_declare("glance", "topic", passive=True)
            except amqp.exceptions.NotFound:
                return False
        return True

    @contextmanager
    def _channel(self) -> Iterator[Channel]:
        with kombu.Connection(
            self._url,
            connect_timeout=within(5),
            transport_options={"confirm_publish": True},
        ) as connection:
            connection.connect()  # once; a channel alone would try for ever
            yield connection.channel()


class Load:
    """Images that Glance creates one after another, while entered.

    Like Glance it goes on when its broker comes back; ``confirmed`` has the
    images whose notification the broker has taken over.
    """

    def __init__(self, glance: Glance, pause: float = 0.05) -> None:
        self.confirmed: list[str] = []
        self._glance = glance
        self._pause = pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def await_more(self, count: int = 25, seconds: float = 30) -> None:
        """Wait until so many more are confirmed."""
        wanted = len(self.confirmed) + count
        wait_until(lambda: len(self.confirmed) >= wanted, seconds)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause):
            with suppress(amqp.exceptions.AMQPError, OSError):
                self._publish()

    def _publish(self) -> None:
        with self._glance.notifier() as notify:
            while not self._stopping.wait(self._pause):
                image = str(uuid4())
                notify(INFO, create_envelope(image))
                self.confirmed.append(image)


class Region:
    """One region: its broker, ledger, two cells, configuration, agent.

    It has databases of its own, and on the broker a virtual host.
    ``durable``: Glance's exchange and queues survive the broker.
    """

    cell_names: tuple[str, ...] = ("cell0", "cell1")
    own_rights = OWN_RIGHTS
    program: tuple[str | Path, ...] = (BIN / "ec2map-sync-agent",)

    def __init__(
        self,
        name: str,
        rabbit: RabbitMQ,
        mariadb: MariaDB,
        directory: Path,
        *,
        durable: bool = False,
    ) -> None:
        self.name = name
        self.rabbit = rabbit
        self.mariadb = mariadb
        self.directory = directory
        self.durable = durable
        prefix = f"{directory.name}_{name}".lower().replace("-", "_")
        self.vhost = prefix
        self.account = prefix
        rabbit.grant(prefix, {self.account: self.own_rights})
        self.bus_url = rabbit.url(prefix)
        self.glance = Glance(rabbit, prefix, durable=durable)
        self.config_file = directory / f"{name}.conf"
        self.log_file = directory / f"{name}.log"
        self.agent: subprocess.Popen[bytes] | None = None
        self.ledger = mariadb.create_database(f"{prefix}_ledger")
        self.cells = {
            cell: mariadb.create_database(f"{prefix}_{cell}")
            for cell in self.cell_names
        }
        self.make_tables()
        self.public_key = self.command(
            "key", "generate", str(directory / f"{name}.key"), configured=False
        ).strip()

    def make_tables(self) -> None:
        """Make Nova's tables, as far as they matter, in every cell."""
        for cell in self.cells:
            self.sql(cell, S3_IMAGES)

    def configure(self, *peers: "Region", extra: str = "") -> None:
        """Write the configuration and make the ledger's tables.

        Every agent has accounts that may do no more than they have to.
        """
        self.rabbit.grant(
            self.vhost,
            {self.account_of(p): peer_rights(p.name) for p in peers},
        )
        glance = self.rabbit.transport_url(self.vhost)
        sections = [
            f"[DEFAULT]\nregion = {self.name}\n"
            f"state_path = {self.directory}\n"
            f"peers = {','.join(p.name for p in peers)}\n"
            f"transport_url = {login(glance, self.account)}\n",
            f"[oslo_messaging_rabbit]\namqp_durable_queues = {self.durable}\n",
            f"[ledger]\nconnection = {self.ledger}\n",
            "[ec2_ids]\nhash_key = tests\n",
            f"[bus]\nurl = {login(self.bus_url, self.account)}\n"
            "heartbeat_interval = 0.5\n"
            f"signing_key_file = {self.directory / self.name}.key\n",
            self.nova_sections(),
        ]
        sections += [
            f"[peer:{p.name}]\nurl = {login(p.bus_url, p.account_of(self))}\n"
            f"public_keys = {p.public_key}\n"
            for p in peers
        ]
        self.config_file.write_text("\n".join(sections) + extra)
        self.command("db", "upgrade")

    def account_of(self, peer: "Region") -> str:
        """Name the account that a peer has on our broker."""
        return f"{self.vhost}_{peer.name}"

    def nova_sections(self) -> str:
        """Give what the configuration says of Nova's cells."""
        sections = [f"[nova]\ncells = {','.join(self.cells)}\n"]
        sections += [
            f"[cell:{cell}]\nconnection = {url}\n"
            for cell, url in self.cells.items()
        ]
        return "\n".join(sections)

    def command(
        self, *arguments: str, configured: bool = True, code: int = 0
    ) -> str:
        """Run `ec2map-sync …`, which ends with a code; what it printed.

        In this process: to start a program takes a second of a core.
        """
        files = ["--config-file", str(self.config_file)] if configured else []
        done = run(*arguments, *files)
        assert done.code == code, done
        return done.stdout

    def start(self) -> None:
        """Start the agent, as a user would; its log goes to a file."""
        with self.log_file.open("ab") as log:
            self.agent = subprocess.Popen(
                [
                    # Not even a killed run of tests leaves one behind.
                    find_program("setpriv", "util-linux"),
                    "--pdeathsig=KILL",
                    *self.program,
                    "--config-file",
                    self.config_file,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def stop(self) -> int:
        """Send SIGTERM; give the exit code."""
        assert self.agent is not None
        self.agent.terminate()
        code = self.agent.wait(within(60))
        self.agent = None
        return code

    def kill(self) -> None:
        """Kill the agent and every service of it, as a power cut would."""
        if self.agent is None:
            return
        self.agent.send_signal(signal.SIGSTOP)  # it would start new ones
        for pid in [*_children(self.agent.pid), self.agent.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.agent.wait(within(10))
        self.agent = None

    def services(self) -> dict[str, int]:
        """Give the process ids of the services that run, by name."""
        return {name: pid for pid, name in self.processes().items()}

    def processes(self) -> dict[int, str]:
        """Give the services that run, by process id: some have several."""
        assert self.agent is not None
        alive = _children(self.agent.pid)
        started = re.findall(r" (\d+) INFO .* (\w+) started\n", self.log())
        return {int(pid): name for pid, name in started if int(pid) in alive}

    def memory(self, service: str, what: str = "VmRSS") -> int:
        """Tell how many bytes the processes of a service have."""
        found = 0
        for pid, name in self.processes().items():
            if name == service:
                status = Path(f"/proc/{pid}/status").read_text()
                found += int(status.split(f"{what}:")[1].split()[0]) * 1024
        return found

    def log(self, since: int = 0) -> str:
        """Give what the agent has said, from a position on."""
        if not self.log_file.exists():
            return ""
        return self.log_file.read_text()[since:]

    def sql(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in "ledger" or a cell."""
        url = self.ledger if database == "ledger" else self.cells[database]
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            if database == "ledger":
                statement = by_hand.written(statement, engine.dialect.name)
            result = connection.exec_driver_sql(statement)
            if not result.returns_rows:
                return []
            return [tuple(map(by_hand.read, row)) for row in result]

    def rows(self, cell: str) -> list[tuple[int, str]]:
        """Give a cell's mappings, by id."""
        found = self.sql(cell, "SELECT id, uuid FROM s3_images ORDER BY id")
        return [(int(str(i)), str(u)) for i, u in found]

    def uuids(self, cell: str) -> list[str]:
        """Give the images that a cell has rows for; twice if twice there."""
        return sorted(uuid for _, uuid in self.rows(cell))

    def await_images(self, images: Iterable[str], seconds: float = 30) -> None:
        """Wait until every cell has a row for each of these images."""
        wanted = set(images)

        def missing() -> dict[str, set[str]]:
            return {c: wanted - set(self.uuids(c)) for c in self.cells}

        try:
            wait_until(lambda: not any(missing().values()), seconds)
        except TimeoutError:
            raise AssertionError(
                f"{self.name} lacks, of {len(wanted)}: {missing()}"
            ) from None

    def await_log(
        self, text: str, seconds: float = 30, *, since: int = 0
    ) -> None:
        """Wait until the agent has said something."""
        wait_until(lambda: text in self.log(since), seconds)


def pair(
    rabbit_a: RabbitMQ,
    rabbit_b: RabbitMQ,
    mariadb: MariaDB,
    directory: Path,
    *,
    durable: bool = False,
) -> tuple[Region, Region]:
    """Make two regions that are each other's peers."""
    one = Region("RegionOne", rabbit_a, mariadb, directory, durable=durable)
    two = Region("RegionTwo", rabbit_b, mariadb, directory, durable=durable)
    one.configure(two)
    two.configure(one)
    return one, two


def await_reading(reader: Region, peer: Region, since: int = 0) -> None:
    """Wait until a region reads what its peer publishes."""
    reader.await_log(
        f"reading ec2map_sync.{reader.name} of {peer.name}", since=since
    )


def _children(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(FileNotFoundError):  # it has ended meanwhile
            found += (thread / "children").read_text().split()
    return [int(child) for child in found]


@contextmanager
def running(*regions: Region) -> Iterator[None]:
    """Run the agents of some regions; none is left running."""
    try:
        for region in regions:
            region.start()
        yield
    except BaseException:
        for region in regions:
            print(f"--- log of {region.name}\n{region.log()[-8000:]}")
        raise
    finally:
        for region in regions:
            region.kill()


@contextmanager
def holding(region: Region) -> Iterator[None]:
    """Keep the ledger's lock: what is being recorded has to wait."""
    engine = sa.create_engine(region.ledger)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE head SET revision = revision")
        yield
        connection.rollback()
    engine.dispose()
