"""The stand: regions of several hosts, with servers and links of their own."""

import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import own_host
from fleet import Region
from links import Link
from servers import Epmd, Galera, HAProxy, MariaDB, RabbitMQ

Database = TypeVar("Database", bound=MariaDB)

NAMES = ("RegionOne", "RegionTwo", "RegionThree", "RegionFour")
AMQP_HEARTBEAT = 8
"""Seconds, instead of 20: what a link that hangs costs is short here."""

MORE = """
[bus]
heartbeat_interval = 1
claim_wait = 20
[nova]
audit_interval = 30
[agreement]
interval = 10
"""

# An agent is to die with the thread that has started it.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="agents")


@dataclass(frozen=True)
class Front:
    """What stands before a cluster's nodes, as one server."""

    node: MariaDB
    port: int

    def create_database(self, name: str) -> str:
        """Create an empty database; its URL."""
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return (
            f"mysql+pymysql://root@127.0.0.1:{self.port}/{name}"
            "?charset=utf8mb4"
        )

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement as root; the rows that it returns."""
        behind = copy(self.node)
        behind.port = self.port
        return behind.execute(statement)


class Host:
    """A machine that runs the agent of a region, and its links."""

    def __init__(
        self, region: Region, name: str, peers: Sequence[Region]
    ) -> None:
        self.name = f"{region.name}-{name}"
        self.region = copy(region)
        self.directory = region.directory / self.name
        self.directory.mkdir()
        self.region.agent = None
        self.region.log_file = region.directory / f"{self.name}.log"
        self.region.config_file = region.directory / f"{self.name}.conf"
        self.release: tuple[str, ...] = ("today",)
        self.broker = Link(region.rabbit.port)
        self.database = Link(region.mariadb.port)
        self.peers = {p.name: Link(p.rabbit.port) for p in peers}
        self._clock_file = self.directory / "clock"
        self._clock_file.touch()
        self.set_clock(0)
        self._write_config(region)
        self._names: dict[int, str] = {}
        self._read = 0

    @property
    def links(self) -> dict[str, Link]:
        """All links of this host, by where they lead."""
        return {
            "the broker": self.broker,
            "the database": self.database,
            **{f"the broker of {name}": p for name, p in self.peers.items()},
        }

    def _write_config(self, region: Region) -> None:
        text = region.config_file.read_text()
        text = text.replace(
            f"state_path = {region.directory}\n",
            f"state_path = {self.directory}\n",
        )
        ways = {region.rabbit.port: self.broker.port}
        ways[region.mariadb.port] = self.database.port
        text = _through(text, ways)
        for name, link in self.peers.items():
            section = re.search(rf"\[peer:{name}\]\nurl = .*\n", text)
            assert section is not None
            new = re.sub(
                r"@127\.0\.0\.1:\d+/(\S*)",
                rf"@127.0.0.1:{link.port}/\1?heartbeat={AMQP_HEARTBEAT}",
                section[0],
            )
            text = text.replace(section[0], new)
        self.region.config_file.write_text(text)

    def set_clock(self, seconds: float) -> None:
        """Set every clock of this host but the monotonic one."""
        with self._clock_file.open("r+b") as clock:
            clock.write(own_host.AHEAD.pack(seconds))

    @property
    def runs(self) -> bool:
        """Whether the agent is there."""
        agent = self.region.agent
        return agent is not None and agent.poll() is None

    def start(self) -> None:
        """Start the agent."""
        self.region.program = (
            sys.executable,
            Path(own_host.__file__),
            self.name,
            self._clock_file,
            *self.release,
        )
        _spawner.submit(self.region.start).result()

    def kill(self) -> None:
        """Kill the agent and every service of it, as a power cut would."""
        self.region.kill()

    def stop(self) -> int:
        """Let the agent end in order; its exit code."""
        return self.region.stop()

    def services(self) -> dict[int, str]:
        """Give the services that run, by process id."""
        agent = self.region.agent
        if agent is None:
            return {}
        with self.region.log_file.open() as log:
            log.seek(self._read)
            said = log.read()
            self._read += len(said.encode())
        for pid, name in re.findall(r" (\d+) INFO .* (\w+) started\n", said):
            self._names[int(pid)] = name
        return {p: self._names.get(p, "service") for p in _children(agent.pid)}

    def processes(self) -> list[int]:
        """Give the agent's processes, the first one first."""
        agent = self.region.agent
        return [agent.pid, *_children(agent.pid)] if agent else []


class Stand:
    """All that runs: servers, regions, hosts; nothing of it stays."""

    def __init__(
        self, directory: Path, regions: int = 3, hosts: int = 2
    ) -> None:
        """Make nothing yet; the last region's databases are a cluster."""
        self.directory = directory
        self.names = NAMES[:regions]
        self._hosts = hosts
        self.rabbits: dict[str, RabbitMQ] = {}
        self.databases: dict[str, tuple[MariaDB, ...]] = {}
        self.fronts: dict[str, Front | MariaDB] = {}
        self.regions: dict[str, Region] = {}
        self.hosts: list[Host] = []
        self.proxy: HAProxy
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start everything."""
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything."""
        self._stack.close()

    def hosts_of(self, region: str) -> list[Host]:
        """Give the hosts of a region."""
        return [h for h in self.hosts if h.region.name == region]

    def peers_of(self, region: str) -> list[Region]:
        """Give the other regions."""
        return [r for name, r in self.regions.items() if name != region]

    def _start(self) -> None:
        epmd = self._stack.enter_context(Epmd(self.directory / "epmd"))
        pool = ThreadPoolExecutor(2)
        try:
            for step in (
                partial(self._start_broker, epmd=epmd),
                self._start_databases,
                self._make,
                self._configure,
            ):
                for one in [pool.submit(step, name) for name in self.names]:
                    one.result()
        finally:
            pool.shutdown(cancel_futures=True)
        for region in self.regions.values():
            region.glance.declare()
            peers = self.peers_of(region.name)
            for name in "ab"[: self._hosts]:
                self._start_host(Host(region, name, peers))

    def _start_broker(self, region: str, epmd: Epmd) -> None:
        place = self.directory / f"broker-{region}"
        server = RabbitMQ(place, region.lower(), epmd)
        self._stack.callback(server.kill)
        server.start()
        self.rabbits[region] = server

    def _start_databases(self, region: str) -> None:
        place = self.directory / f"database-{region}"
        if region != self.names[-1]:
            self.databases[region] = (self._started(MariaDB(place)),)
            self.fronts[region] = self.databases[region][0]
            return
        one = self._started(Galera(place / "one"))
        two = self._started(Galera(place / "two", one))
        proxy = HAProxy(place / "front", one, two)
        self._stack.callback(proxy.kill)
        proxy.start()
        self.proxy = proxy
        self.databases[region] = (one, two)
        self.fronts[region] = Front(one, proxy.port)

    def _started(self, server: Database) -> Database:
        self._stack.callback(server.kill)
        server.start()
        return server

    def _make(self, name: str) -> None:
        place = self.directory / "regions"
        place.mkdir(exist_ok=True)
        region = Region(
            name,
            self.rabbits[name],
            self.fronts[name],  # type: ignore[arg-type]
            place,
            durable=True,
        )
        second = place / f"{name}.second.key"
        public = region.command(
            "key", "generate", str(second), configured=False
        )
        region.public_key = f"{region.public_key}, {public.strip()}"
        self.regions[name] = region

    def _configure(self, name: str) -> None:
        self.regions[name].configure(*self.peers_of(name), extra=MORE)

    def _start_host(self, host: Host) -> None:
        for link in host.links.values():
            self._stack.enter_context(link)
        self.hosts.append(host)
        self._stack.callback(host.kill)
        host.start()


def _through(text: str, ways: dict[int, int]) -> str:
    for port, way in ways.items():
        text = text.replace(f"@127.0.0.1:{port}/", f"@127.0.0.1:{way}/")
    return text


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (thread / "children").read_text().split())
    return found
