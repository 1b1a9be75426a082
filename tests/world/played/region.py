"""A region: its databases, its broker, its Glance and Nova, and its hosts.

A host runs what the agent runs: the services that `agent.services` builds
from a configuration file, a process each, started anew when one dies.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ec2map_sync.agent import services
from ec2map_sync.agent.host import Host as SharedHost
from ec2map_sync.agent.main import BUILDERS
from ec2map_sync.glance import listener
from ec2map_sync.glance.catalogue import Image
from ec2map_sync.ledger import schema
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.ec2id import DERIVED, ON_DEMAND, Band, Scheme
from ec2map_sync.rules.names import EC2API, sink_of
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.loading import load
from ec2map_sync.settings.services import SERVICES
from ec2map_sync.sql.database import create_engine, parse_url
from played import nature
from played.ec2api import Ec2Api
from played.memcached import Memcached
from played.rabbit import Broker
from played.scheduler import Clock, Process, Scheduler
from played.sqlite import Database

HEARTBEAT = 10.0
START_AGAIN = 1.0
"""Seconds after which a service that has died is started anew."""

MANY = 1_000_000

GLANCE = "glance"
TOPIC = "ec2map_sync"

_CONF = """
[DEFAULT]
region = {name}
peers = {peers}
state_path = {state}
transport_url = rabbit://guest:guest@{name}:5672/
[oslo_messaging_rabbit]
amqp_durable_queues = true
[notifications]
exchange = glance
topics = ec2map_sync
batch_size = {batch}
[ec2_ids]
hash_key = world
[ledger]
connection = sqlite:///{ledger}
[bus]
url = amqp://guest:guest@{name}:5672/
signing_key_file = {directory}/{name}.key
heartbeat_interval = {heartbeat}
batch_size = {batch}
queue_max_bytes = 1048576
queue_expires = 3600
max_moves = 1000000
max_evictions = {evictions}
[nova]
cells = {cells}
audit_interval = 120
"""
_GLANCE = """
[glance]
endpoint_override = http://{name}/
auth_type = none
"""
_CELL = """
[cell:{cell}]
connection = sqlite:///{path}
"""
_EC2API = """
[ec2api]
connection = sqlite:///{path}
"""
_PEER = """
[peer:{name}]
url = amqp://guest:guest@{name}:5672/
public_keys = {key}
"""
_NOVA = (
    "CREATE TABLE s3_images (created_at DATETIME, updated_at DATETIME, "
    "deleted_at DATETIME, id INTEGER NOT NULL PRIMARY KEY, "
    "uuid VARCHAR(36) NOT NULL, deleted INTEGER)"
)
MEMCACHED = 11211
_INSERTED = "SELECT sink, number, image FROM inserted"
_ANNALS = """
CREATE TABLE played_annals (
    place INTEGER PRIMARY KEY,
    revision, image, number, own_revision, claimed_at, kind_at
);
CREATE TRIGGER played_annals AFTER INSERT ON claims BEGIN
    INSERT INTO played_annals
        (revision, image, number, own_revision, claimed_at, kind_at)
    SELECT revision + 1, NEW.image, NEW.number, NEW.own_revision,
        NEW.claimed_at, NEW.kind_at
    FROM head;
END;
"""
"""What has become of each claim, see `annals`."""


class SmallBand(Config):
    """A configuration whose band is so small that images meet in it.

    Whoever looks how all is reads all of it; here it is read once.
    """

    band = DERIVED
    bus = cached_property(Config.bus.fget)  # type: ignore[arg-type, assignment]
    cells = cached_property(Config.cells.fget)  # type: ignore[arg-type, assignment]

    @property
    def scheme(self) -> Scheme:
        """How ids are derived."""
        return Scheme(b"world", self.band)


@cache
def key_of(region: str) -> SigningKey:
    """Returns a region's key, always the same."""
    seed = blake2b(region.encode(), digest_size=32).digest()
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


@cache
def empty_ledger() -> sqlite3.Connection:
    """Makes a ledger by the package's migrations, once."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "empty"
        with sqlite3.connect(path):
            pass
        Database(path, None)  # type: ignore[arg-type]
        engine = create_engine(parse_url(f"sqlite:///{path}", "a world"))
        schema.upgrade(engine)
        engine.dispose()
        with sqlite3.connect(path) as connection:
            connection.executescript(_ANNALS)
        connection.close()
        copy = sqlite3.connect(":memory:")
        source = sqlite3.connect(path)
        source.backup(copy)
        source.close()
        return copy


class Cell:
    """A Nova cell's database, and Nova's own view of it."""

    def __init__(self, name: str, database: Database) -> None:
        self.name = name
        self.database = database
        self.made: dict[int, str] = {}
        """Rows that Nova made."""
        self.legacy: dict[int, str] = {}
        """Those of them that are from before us."""
        with sqlite3.connect(database.path) as connection:
            connection.execute(_NOVA)
        connection.close()

    @property
    def sink(self) -> str:
        """What it is called as a sink."""
        return sink_of(self.name)

    def rows(self) -> dict[int, str]:
        """Returns all rows, by number."""
        connection = sqlite3.connect(self.database.path)
        found = dict(connection.execute("SELECT id, uuid FROM s3_images"))
        connection.close()
        return found

    def first_of(self, image: str) -> int | None:
        """Returns what Nova reads of an image: the first of its rows."""
        rows = self.rows().items()
        return min(
            (n for n, uuid in rows if uuid.lower() == image), default=None
        )

    def lose(self, numbers: Sequence[int]) -> None:
        """Forgets rows, as a restored server does."""
        rows = [(number,) for number in numbers]
        self.database.write("DELETE FROM s3_images WHERE id = ?", rows)

    def make(self, image: str) -> None:
        """Makes a row, as Nova does where there is none."""
        self._put(ON_DEMAND.first + len(self.made), image)

    def remember(self, image: str, number: int) -> int:
        """Makes a row as Nova did before us; returns its number."""
        self._put(number, image)
        self.legacy[number] = image
        return number

    def _put(self, number: int, image: str) -> None:
        self.database.write(
            "INSERT INTO s3_images (id, uuid, deleted) VALUES (?, ?, 0)",
            [(number, image)],
        )
        self.made[number] = image


class Catalogue:
    """Glance's API, as the Auditor asks it."""

    def __init__(self, conf: Any, _options: Any) -> None:
        self._region = conf.region
        self.told_at: datetime | None = None

    def images(
        self,
        *,
        hidden: bool,
        created_since: str | None = None,
        updated_since: str | None = None,
    ) -> Iterator[Image]:
        """Lists images, the oldest first."""
        for image in [] if hidden else self._ask():
            if (image.created_at or "") >= (created_since or "") and (
                image.updated_at or ""
            ) >= (updated_since or ""):
                yield image

    def newest_update(self) -> str | None:
        """Returns when an image was last changed."""
        return max((i.updated_at or "" for i in self._ask()), default=None)

    def close(self) -> None:
        """Drops nothing."""

    def _ask(self) -> list[Image]:
        scheduler = nature.scheduler()
        scheduler.park(2 * scheduler.travel())
        self.told_at = datetime.fromtimestamp(int(scheduler.now), UTC)
        found = known[self._region].catalogue.values()
        return sorted(found, key=lambda i: (i.created_at or "", i.uuid))


known: dict[str, "Region"] = {}
"""The regions of the world that is being lived."""


def install() -> None:
    """Lets the Auditor ask the Glances of this world."""
    services.Catalogue = Catalogue  # type: ignore[misc, assignment]


class Host:
    """One machine: the agent's services, a process each."""

    def __init__(self, region: "Region", name: str, clock: Clock) -> None:
        self.region = region
        self.name = name
        self.clock = clock
        self.up = False
        self.ended = False
        """Whether a service was ended for good."""
        self.processes: dict[str, Process] = {}
        self._shared: SharedHost | None = None
        self._state = region.directory / name
        self._state.mkdir()
        self._file = region.directory / f"{name}.conf"

    def configure(self, text: str) -> None:
        """Writes the configuration of its agent."""
        self._file.write_text(text.replace("{state}", str(self._state)))

    def remembers(self) -> int:
        """Returns how far the ledger had come when it looked last."""
        try:
            text = (self._state / f"{self.region.name}.ledger").read_text()
        except FileNotFoundError:
            return 0
        return int(json.loads(text)["revision"])

    def start(self) -> None:
        """Starts the agent."""
        self.up, self.ended = True, False
        conf = load(
            [], files=[str(self._file)], prepare=listener.register_options
        ).conf
        config = SmallBand(conf)
        config.band = self.region.band
        self.config = config
        agent = Process(f"{self.name} agent", self.clock, host=self.name)
        self.processes = {"agent": agent}
        # In a task, so that it starts by the host's own clock.
        self.region.scheduler.start(agent, "agent", self._start_all)

    def _start_all(self) -> None:
        self._shared = SharedHost()
        for service in SERVICES:
            if service.count(self.config):
                self._start(service.name)

    def _start(self, service: str) -> None:
        scheduler = self.region.scheduler
        process = Process(f"{self.name} {service}", self.clock, host=self.name)
        self.processes[service] = process

        def run() -> None:
            assert self._shared is not None
            BUILDERS[service](self.config, self._shared).run()

        def again() -> None:
            if self.up and self.processes.get(service) is process:
                self._start(service)

        process.at_death.append(
            lambda: scheduler.at(scheduler.now + START_AGAIN, again)
        )
        scheduler.start(process, service, run)

    @property
    def is_whole(self) -> bool:
        """Whether it runs all that it should."""
        return self.up and not self.ended

    def end(self, service: str) -> None:
        """Ends a service, and nobody starts it anew."""
        self.ended = True
        process = self.processes.pop(service, None)
        if process is not None:
            self.region.scheduler.kill(process)

    def now(self) -> int:
        """Returns the time by its clock, in microseconds."""
        return int(self.clock.time(self.region.scheduler.now) * 1_000_000)

    def kill(self) -> None:
        """Takes its power away."""
        self.up = False
        for process in list(self.processes.values()):
            self.region.scheduler.kill(process)
        self.processes.clear()


class Region:
    """One region of a world."""

    def __init__(
        self,
        name: str,
        directory: Path,
        scheduler: Scheduler,
        band: Band,
        *,
        audited: bool,
        batch: int,
    ) -> None:
        self.name = name
        known[name] = self
        self.directory = directory
        self.scheduler = scheduler
        self.band = band
        self.audited = audited
        """Whether Glance's API is asked, too."""
        self.batch = batch
        self.evictions = MANY
        """Numbers that a peer may take from images here, in a day."""
        self.broker = Broker(name, scheduler)
        self.ledger = Database(directory / f"{name}.ledger", scheduler)
        self.new_ledger()
        self.cells: list[Cell] = []
        self.ec2api: Ec2Api | None = None
        self.memcached: Memcached | None = None
        self.hosts: list[Host] = []
        self.backups: list[sqlite3.Connection] = []
        self.since = 0
        """The place in the annals where the day began, or the ledger anew."""
        self.until: int | None = None
        """The place where an operator began to take what was held."""
        self.catalogue: dict[str, Image] = {}
        """What Glance's API lists."""
        self.told_before: dict[str, str] = {}
        """The same, in the evening before."""
        self.told: dict[str, str] = {}
        """What is to be heard of, told or audited: image, format."""
        path = directory / f"{name}.key"
        key_of(name).save(path)

    def new_ledger(self) -> None:
        """Puts an empty ledger in the place of what there is."""
        self.ledger.replace(empty_ledger())
        with sqlite3.connect(self.ledger.path) as connection:
            identity = f"ledger {self.scheduler.now}"
            connection.execute("UPDATE head SET identity = ?", (identity,))
        connection.close()

    def add_cell(self) -> None:
        """Adds a Nova cell."""
        name = f"cell{len(self.cells) + 1}"
        path = self.directory / f"{self.name}.{name}"
        self.cells.append(Cell(name, Database(path, self.scheduler)))

    def add_ec2api(self) -> None:
        """Adds an ec2-api."""
        path = self.directory / f"{self.name}.ec2api"
        self.ec2api = Ec2Api(Database(path, self.scheduler))

    def add_memcached(self) -> None:
        """Adds a memcached, where Nova remembers."""
        self.memcached = Memcached(f"{self.name}:{MEMCACHED}")

    @property
    def sinks(self) -> list[Cell | Ec2Api]:
        """All that the Writer writes into."""
        return [*self.cells, *([self.ec2api] if self.ec2api else [])]

    @property
    def databases(self) -> list[Database]:
        """The ledger's, and those of the sinks."""
        return [self.ledger, *(sink.database for sink in self.sinks)]

    def add_host(self, clock: Clock) -> None:
        """Adds a machine; it is not started yet."""
        name = f"{self.name}-{len(self.hosts) + 1}"
        self.hosts.append(Host(self, name, clock))

    def configure(self, regions: Sequence["Region"]) -> None:
        """Writes the configuration of all hosts."""
        peers = [one for one in regions if one is not self]
        text = _CONF.format(
            name=self.name,
            peers=",".join(peer.name for peer in peers),
            state="{state}",
            directory=self.directory,
            ledger=self.ledger.path,
            heartbeat=HEARTBEAT,
            batch=self.batch,
            cells=",".join(cell.name for cell in self.cells),
            evictions=self.evictions,
        )
        if self.memcached is not None:
            text += f"memcached_servers = {self.memcached.name}\n"
        if self.audited:
            text += _GLANCE.format(name=self.name)
        for cell in self.cells:
            text += _CELL.format(cell=cell.name, path=cell.database.path)
        if self.ec2api is not None:
            text += _EC2API.format(path=self.ec2api.database.path)
        for peer in peers:
            text += _PEER.format(name=peer.name, key=key_of(peer.name).public)
        for host in self.hosts:
            host.configure(text)

    @property
    def adoptable(self) -> set[str]:
        """Images that have ever had a number here which may be adopted."""
        found = {i for cell in self.cells for i in cell.legacy.values()}
        return found | (self.ec2api.adoptable if self.ec2api else set())

    @property
    def is_up(self) -> bool:
        """Whether anybody can ask here."""
        return any(host.up for host in self.hosts)

    @property
    def processes(self) -> list[Process]:
        """All that run."""
        return [
            process
            for host in self.hosts
            for process in host.processes.values()
            if process.alive
        ]

    def notices(self, content: sqlite3.Connection) -> bool:
        """Returns whether a host can tell a backup from the ledger's end.

        What comes after the last look, and is lost, only peers know.
        """
        (revision,) = content.execute("SELECT revision FROM head").fetchone()
        return any(host.remembers() > revision for host in self.hosts)

    def restore(self, content: sqlite3.Connection | None) -> None:
        """Puts a backup, or an empty ledger, in the ledger's place.

        What peers had not heard yet is lost, where nobody asks Glance.
        """
        if not self.audited:
            self.told = dict(self.told_before)
        up = [host for host in self.hosts if host.up]
        for host in up:
            host.kill()
        before, noted = self._inserted(), self._noted()
        if content is None:
            self.new_ledger()
        else:
            self.ledger.replace(content)
        self._disown(before - self._inserted())
        if self.memcached is not None:
            self.memcached.flush(noted - self._noted())
        self.turn_page()
        for host in up:
            host.start()

    def _inserted(self) -> set[tuple[str, int, str]]:
        """Returns rows which the ledger alone shows to be ours."""
        with closing(sqlite3.connect(self.ledger.path)) as connection:
            return set(connection.execute(_INSERTED))

    def _noted(self) -> set[str]:
        """Returns images of which Nova may have to forget something."""
        with closing(sqlite3.connect(self.ledger.path)) as connection:
            found = connection.execute("SELECT image FROM memos")
            return {image for (image,) in found}

    def _disown(self, forgotten: Iterable[tuple[str, int, str]]) -> None:
        """Lets such rows be nobody's: they stay, as Nova's own do."""
        for sink, number, image in sorted(forgotten):
            if self.ec2api is not None and sink == EC2API:
                self.ec2api.own_up(number, image)
            for cell in self.cells:
                there = cell.rows().get(number, "").lower()
                if cell.sink == sink and there == image:
                    cell.made[number] = image

    def place(self) -> int:
        """Returns the last place of the annals."""
        with closing(sqlite3.connect(self.ledger.path)) as connection:
            (last,) = connection.execute(
                "SELECT max(place) FROM played_annals"
            ).fetchone()
        return last or 0

    def turn_page(self) -> None:
        """Begins a new page of the annals."""
        self.since, self.until = self.place(), None

    # Glance.

    def start_glance(self) -> None:
        """Lets Glance make its exchange and queue, as it first notifies."""
        self.broker.exchanges[GLANCE] = True
        queue = f"{TOPIC}.info"
        self.broker.declare(
            queue, passive=False, durable=True, arguments={}, owner=None
        )
        if (GLANCE, queue, queue) not in self.broker.bindings:
            self.broker.bindings.append((GLANCE, queue, queue))

    def has(self, image: str, form: str | None) -> None:
        """Lets Glance's API list an image."""
        known = self.catalogue.get(image)
        now = datetime.fromtimestamp(self.scheduler.now, UTC)
        moment = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        self.catalogue[image] = Image(
            uuid=image,
            container_format=form
            or (known.container_format if known else None),
            created_at=known.created_at if known else moment,
            updated_at=moment,
            visibility="public",
        )

    def tell(self, image: str, form: str | None, name: str) -> bool:
        """Lets Glance tell of an image; False if its broker is away."""
        self.has(image, form)
        if self.broker.up or self.audited:
            self.told[image] = form or self.told.get(image, "")
        if not self.broker.up:
            return False
        self.start_glance()
        now = datetime.fromtimestamp(self.scheduler.now, UTC)
        payload = {
            "id": image,
            "status": "active",
            "container_format": form,
            "visibility": "public",
            "created_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "updated_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "properties": {},
        }
        message = {
            "message_id": image,
            "publisher_id": f"image.{self.name}",
            "event_type": name,
            "priority": "INFO",
            "payload": payload,
            "timestamp": f"{now:%Y-%m-%d %H:%M:%S.%f}",
        }
        body = {"oslo.version": "2.0", "oslo.message": json.dumps(message)}
        self.broker.publish(
            GLANCE,
            f"{TOPIC}.info",
            json.dumps(body).encode(),
            {
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "delivery_mode": 2,
            },
        )
        return True
