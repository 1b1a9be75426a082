"""A region of the demonstration: its files, databases and services."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa
from oslo_config import cfg

from ec2map_sync.agent import services
from ec2map_sync.agent.host import Host
from ec2map_sync.broker import link
from ec2map_sync.broker.address import Address
from ec2map_sync.demo.glance import Glance
from ec2map_sync.demo.nova import Cell
from ec2map_sync.glance import listener
from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.peers import bus
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.running.threads import Threads
from ec2map_sync.settings import config
from ec2map_sync.settings.config import Config
from ec2map_sync.sql import database

CELL = "cell1"
STOP_TIMEOUT = 10
"""Seconds that a service has to end."""

# One process is one namespace of kombu's memory transport, whatever the URL:
# every name on a broker carries its region's.
_GLANCE_CONF = """
[DEFAULT]
transport_url = kombu+memory://
control_exchange = glance_{name}
[oslo_messaging_notifications]
driver = messagingv2
topics = notifications_{name}
"""
_CONF = """
[DEFAULT]
region = {name}
peers = {peers}
transport_url = kombu+memory://
[notifications]
exchange = glance_{name}
topics = notifications_{name}
[ec2_ids]
hash_key = demo
[ledger]
connection = sqlite:///{directory}/{name}.ledger
[bus]
url = memory://
exchange = ec2map_sync_{name}
signing_key_file = {directory}/{name}.key
heartbeat_interval = 0.5
[nova]
cells = {cell}
[cell:{cell}]
connection = {cell_url}
"""
_PEER_CONF = """
[peer:{name}]
url = memory://
public_keys = {public_key}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """That an image's number changed, as a ledger has recorded it."""

    image: str
    old: int
    new: int
    cause: str


class OneProcessConfig(Config):
    """Adds what the files cannot say: that each bus has its own exchange.

    ``only`` leaves one peer, so that its follower can be stopped alone.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        exchanges: Mapping[str, str],
        only: str | None = None,
    ) -> None:
        super().__init__(conf)
        self._exchanges = exchanges
        self._only = only

    @property
    def bus(self) -> config.Bus:
        """How to reach the other regions."""
        bus = super().bus
        peers = tuple(
            replace(peer, exchange=self._exchanges[peer.name])
            for peer in bus.peers
            if self._only in {None, peer.name}
        )
        return replace(bus, peers=peers)


class _Running:
    """A service at work in threads."""

    def __init__(self, service: Threads) -> None:
        self._service = service
        self._thread = threading.Thread(target=service.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._service.stop()

    def join(self) -> None:
        self._thread.join(STOP_TIMEOUT)


class Region:
    """One region: Glance, ledger, a Nova cell, and our services."""

    def __init__(
        self, name: str, directory: Path, earlier: Iterable[str]
    ) -> None:
        self.name = name
        self.exchange = f"ec2map_sync_{name}"
        self._directory = directory
        self.earlier = list(earlier)
        self.cell = Cell(directory / f"{name}.nova", self.earlier)
        self.alone = Cell(directory / f"{name}.alone", self.earlier)
        """What Nova would hold if nobody had told it anything."""
        key = SigningKey.generate()
        key.save(directory / f"{name}.key")
        self.public_key = key.public
        glance_conf = directory / f"{name}.glance.conf"
        glance_conf.write_text(_GLANCE_CONF.format(name=name))
        self.glance = Glance(name, glance_conf)
        self._services: list[_Running] = []
        self._links: dict[str, _Running] = {}

    def configure(self, regions: "Sequence[Region]") -> None:
        """Write the configuration, read it, and make the ledger."""
        peers = [region for region in regions if region is not self]
        file = self._directory / f"{self.name}.conf"
        sections = [
            _CONF.format(
                name=self.name,
                peers=",".join(peer.name for peer in peers),
                directory=self._directory,
                cell=CELL,
                cell_url=self.cell.url,
            )
        ]
        sections += [
            _PEER_CONF.format(name=peer.name, public_key=peer.public_key)
            for peer in peers
        ]
        file.write_text("".join(sections))
        self._exchanges = {peer.name: peer.exchange for peer in peers}
        self.config = self._read(file)
        self.config.check()
        engine = database.create_engine(self.config.ledger)
        schema.upgrade(engine)
        self._engine = engine
        self._ledger = Ledger(engine, self.config.scheme)
        self._host = Host()
        self._file = file

    def _read(self, file: Path, only: str | None = None) -> OneProcessConfig:
        # Each service gets an oslo.config object of its own, as it does in
        # a process of its own.
        loaded = config.load(
            [], files=[str(file)], prepare=listener.register_options
        )
        return OneProcessConfig(loaded.conf, self._exchanges, only)

    def start(self) -> None:
        """Start every service but the followers."""
        for build in (services.publisher, services.writer, services.listener):
            self._services.append(_Running(build(self.config, self._host)))

    def link(self, peer: str) -> None:
        """Follow a peer."""
        only = self._read(self._file, peer)
        self._links[peer] = _Running(services.follower(only, self._host))

    def cut(self, peers: Iterable[str]) -> None:
        """Follow some peers no longer."""
        links = [self._links.pop(p) for p in peers if p in self._links]
        _end(links)

    @property
    def running(self) -> "list[_Running]":
        """Every service that is at work."""
        return [*self._services, *self._links.values()]

    def answers(self) -> bool:
        """Whether peers can ask this region already."""
        queue = bus.requests_of(self.exchange)
        with link.connect(Address("memory://")) as connection:
            try:
                connection.default_channel.queue_declare(queue, passive=True)
            except link.OUTAGES:
                return False
        return True

    @property
    def peers(self) -> list[str]:
        """The other regions."""
        return list(self._exchanges)

    @property
    def linked(self) -> frozenset[str]:
        """The peers that are followed."""
        return frozenset(self._links)

    def claims(self) -> int:
        """Count the images that the ledger knows."""
        return self._ledger.head().total.count

    def met(self) -> set[str]:
        """Give the peers that this ledger has been compared with."""
        p = tables.peers
        compared = sa.select(p.c.name).where(p.c.compared_at.is_not(None))
        with self._engine.connect() as connection:
            return set(connection.scalars(compared))

    def moves(self) -> list[Move]:
        """Give what this region has recorded as moved."""
        m = tables.moves
        with self._engine.connect() as connection:
            return [
                Move(
                    image=row.image,
                    old=row.old,
                    new=row.new,
                    cause=row.cause,
                )
                for row in connection.execute(sa.select(m).order_by(m.c.id))
            ]


def stop(regions: Iterable[Region]) -> None:
    """Stop all services of some regions, at the same time."""
    _end(service for region in regions for service in region.running)


def _end(running: Iterable[_Running]) -> None:
    running = list(running)
    for service in running:
        service.stop()
    for service in running:
        service.join()
