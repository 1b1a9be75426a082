"""Regions for tests: real processes, as a user would start them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import kombu
import sqlalchemy as sa
from servers import MariaDB, RabbitMQ, wait_until

DATA = Path(__file__).parent.parent / "data"
BIN = Path(sys.executable).parent

# As Nova 34's first migration makes it (8f2f1571d55b_initial_version.py).
S3_IMAGES = """
CREATE TABLE s3_images (
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME,
    id INTEGER NOT NULL AUTO_INCREMENT, uuid VARCHAR(36) NOT NULL,
    deleted INTEGER, PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8
"""


@dataclass(frozen=True)
class Envelope:
    """A notification as Glance has put it on its exchange."""

    region: int
    routing_key: str
    body: str

    @property
    def message(self) -> dict[str, object]:
        """The notification itself."""
        outer = json.loads(self.body)
        inner = outer.get("oslo.message")
        message: dict[str, object] = json.loads(inner) if inner else outer
        return message


def captured(region: int) -> list[Envelope]:
    """Give what one of the captured regions has sent, in order."""
    lines = (DATA / "glance_envelopes.jsonl").read_text().splitlines()
    envelopes = (Envelope(**json.loads(line)) for line in lines)
    return [e for e in envelopes if e.region == region]


def created(envelopes: Iterable[Envelope]) -> set[str]:
    """Give the images, as spelled, that these notifications create."""
    return {
        str(e.message["payload"]["id"])  # type: ignore[index]
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
    """Glance's side of its broker: exchange, queue, notifications."""

    def __init__(self, rabbit: RabbitMQ) -> None:
        self._rabbit = rabbit

    def send(self, envelopes: Iterable[tuple[str, str]]) -> None:
        """Publish (routing key, body), with confirms, as a Notifier does."""
        with kombu.Connection(
            self._rabbit.url(), transport_options={"confirm_publish": True}
        ) as connection:
            channel = connection.default_channel
            exchange = kombu.Exchange("glance", "topic", durable=False)
            exchange(channel).declare()
            producer = kombu.Producer(channel, exchange)
            declared = set()
            for key, body in envelopes:
                if key not in declared:
                    kombu.Queue(key, exchange, key, durable=False)(
                        channel
                    ).declare()
                    declared.add(key)
                producer.publish(
                    body,
                    routing_key=key,
                    content_type="application/json",
                    content_encoding="utf-8",
                    delivery_mode=2,
                )


class Region:
    """One region: its broker, ledger, two cells, configuration, agent."""

    def __init__(
        self, name: str, rabbit: RabbitMQ, mariadb: MariaDB, directory: Path
    ) -> None:
        self.name = name
        self.rabbit = rabbit
        self.mariadb = mariadb
        self.directory = directory
        self.prefix = f"{directory.name}_{name}".lower().replace("-", "_")
        self.glance = Glance(rabbit)
        self.config_file = directory / f"{name}.conf"
        self.log_file = directory / f"{name}.log"
        self.agent: subprocess.Popen[bytes] | None = None
        self.ledger = mariadb.create_database(f"{self.prefix}_ledger")
        self.cells = {
            cell: mariadb.create_database(f"{self.prefix}_{cell}")
            for cell in ("cell0", "cell1")
        }
        for cell in self.cells:
            self.sql(cell, S3_IMAGES)
        self.public_key = self.command(
            "key", "generate", str(directory / f"{name}.key"), configured=False
        ).strip()

    def configure(self, *peers: "Region", extra: str = "") -> None:
        """Write the configuration and make the ledger's tables."""
        sections = [
            f"[DEFAULT]\nregion = {self.name}\n"
            f"peers = {','.join(p.name for p in peers)}\n"
            f"transport_url = {self.rabbit.transport_url()}\n",
            f"[ledger]\nconnection = {self.ledger}\n",
            "[ec2_ids]\nhash_key = tests\n",
            f"[bus]\nurl = {self.rabbit.url()}\nheartbeat_interval = 0.5\n"
            f"signing_key_file = {self.directory / self.name}.key\n",
            f"[nova]\ncells = {','.join(self.cells)}\n",
        ]
        sections += [
            f"[cell:{cell}]\nconnection = {url}\n"
            for cell, url in self.cells.items()
        ]
        sections += [
            f"[peer:{p.name}]\nurl = {p.rabbit.url()}\n"
            f"public_keys = {p.public_key}\n"
            for p in peers
        ]
        self.config_file.write_text("\n".join(sections) + extra)
        self.command("db", "upgrade")

    def command(self, *arguments: str, configured: bool = True) -> str:
        """Run `ec2map-sync …`; give what it printed."""
        files = ["--config-file", str(self.config_file)] if configured else []
        done = subprocess.run(
            [BIN / "ec2map-sync", *arguments, *files],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    def start(self) -> None:
        """Start the agent, as a user would; its log goes to a file."""
        with self.log_file.open("ab") as log:
            self.agent = subprocess.Popen(
                [
                    BIN / "ec2map-sync-agent",
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
        code = self.agent.wait(60)
        self.agent = None
        return code

    def kill(self) -> None:
        """Kill the agent and every service of it, as a power cut would."""
        if self.agent is None:
            return
        pids = [self.agent.pid, *self.services().values()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.agent.wait(10)
        self.agent = None

    def services(self) -> dict[str, int]:
        """Give the process ids of the agent's services, by name."""
        assert self.agent is not None
        found = {}
        for pid in _children(self.agent.pid):
            title = Path(f"/proc/{pid}/cmdline").read_text()
            for name in ("listener", "publisher", "follower", "writer"):
                if f": {name} worker" in title:
                    found[name] = pid
        return found

    def log(self) -> str:
        """Give what the agent has said."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def sql(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in "ledger" or a cell."""
        url = self.ledger if database == "ledger" else self.cells[database]
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(r) for r in result] if result.returns_rows else []

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
        wait_until(
            lambda: all(wanted <= set(self.uuids(c)) for c in self.cells),
            seconds,
        )

    def await_log(self, text: str, seconds: float = 30) -> None:
        """Wait until the agent has said something."""
        wait_until(lambda: text in self.log(), seconds)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


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
