"""A region of the demonstration: its files, databases and services."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from oslo_config import cfg

from ec2map_sync.agent import services
from ec2map_sync.agent.host import Host
from ec2map_sync.broker import link
from ec2map_sync.broker.address import Address
from ec2map_sync.demo.glance import Glance
from ec2map_sync.demo.nova import Cell
from ec2map_sync.glance import listener
from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.ledger.queries import Move
from ec2map_sync.peers import bus
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.running.threads import Threads
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.loading import load
from ec2map_sync.settings.values import Bus
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
exchange = {exchange}
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


class OneProcessConfig(Config):
    """Adds what the files cannot say: that each bus has its own exchange.

    ``only`` leaves one peer, so that its follower can be stopped alone.
    """

    def __init__(self, conf: cfg.ConfigOpts, only: str | None) -> None:
        super().__init__(conf)
        self._only = only

    @property
    def bus(self) -> Bus:
        """How to reach the other regions."""
        ours = super().bus
        peers = tuple(
            replace(peer, exchange=_exchange_of(peer.name))
            for peer in ours.peers
            if self._only in {None, peer.name}
        )
        return replace(ours, peers=peers)


class _Running(threading.Thread):
    """A service at work."""

    def __init__(self, service: Threads) -> None:
        super().__init__(target=service.run, daemon=True)
        self.stop = service.stop
        self.start()


class Region:
    """One region: Glance, ledger, a Nova cell, and our services."""

    def __init__(
        self, name: str, directory: Path, earlier: Iterable[str]
    ) -> None:
        self.name = name
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
        """Writes the configuration, reads it, and makes the ledger."""
        peers = [region for region in regions if region is not self]
        self.peers = [peer.name for peer in peers]
        self._file = self._directory / f"{self.name}.conf"
        sections = [
            _CONF.format(
                name=self.name,
                peers=",".join(self.peers),
                exchange=_exchange_of(self.name),
                directory=self._directory,
                cell=CELL,
                cell_url=self.cell.url,
            )
        ]
        sections += [
            _PEER_CONF.format(name=peer.name, public_key=peer.public_key)
            for peer in peers
        ]
        self._file.write_text("".join(sections))
        self.config = self._read()
        self.config.check()
        engine = database.create_engine(self.config.ledger)
        schema.upgrade(engine)
        self._ledger = Ledger(engine, self.config.scheme)
        self._host = Host()

    def _read(self, only: str | None = None) -> OneProcessConfig:
        # Each service gets an oslo.config object of its own, as it does in
        # a process of its own.
        loaded = load(
            [], files=[str(self._file)], prepare=listener.register_options
        )
        return OneProcessConfig(loaded.conf, only)

    def start(self) -> None:
        """Starts every service but the followers."""
        for build in (services.publisher, services.writer, services.listener):
            self._services.append(_Running(build(self.config, self._host)))

    def link(self, peer: str) -> None:
        """Follows a peer."""
        only = self._read(peer)
        self._links[peer] = _Running(services.follower(only, self._host))

    def cut(self, peers: Iterable[str]) -> None:
        """Follows some peers no longer."""
        links = [self._links.pop(p) for p in peers if p in self._links]
        _end(links)

    @property
    def running(self) -> "list[_Running]":
        """Every service that is at work."""
        return [*self._services, *self._links.values()]

    def answers(self) -> bool:
        """Whether peers can ask this region already."""
        queue = bus.requests_of(_exchange_of(self.name))
        with link.connect(Address("memory://")) as connection:
            try:
                connection.default_channel.queue_declare(queue, passive=True)
            except link.BROKEN:
                return False
        return True

    @property
    def linked(self) -> frozenset[str]:
        """The peers that are followed."""
        return frozenset(self._links)

    def claims(self) -> int:
        """Counts the images that the ledger knows."""
        return self._ledger.head().total.count

    def met(self) -> set[str]:
        """Returns the peers that this ledger has been compared with."""
        states = self._ledger.journal.peer_states().values()
        return {state.name for state in states if state.compared_at}

    def moves(self, images: Iterable[str]) -> list[Move]:
        """Returns what this region has recorded as moved."""
        return self._ledger.queries.moves(images)


def _exchange_of(region: str) -> str:
    return f"ec2map_sync_{region}"


def stop(regions: Iterable[Region]) -> None:
    """Stops all services of some regions, at the same time."""
    _end(service for region in regions for service in region.running)


def _end(running: Iterable[_Running]) -> None:
    running = list(running)
    for service in running:
        service.stop()
    for service in running:
        service.join(STOP_TIMEOUT)
