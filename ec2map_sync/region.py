"""A region, opened: its ledger, its sinks, its peers, as configured."""

from collections.abc import Sequence
from functools import cached_property

from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, ExceptionContext

from ec2map_sync.broker.address import Address
from ec2map_sync.ledger import Ledger
from ec2map_sync.peers import asking
from ec2map_sync.peers.bus import Outlet
from ec2map_sync.peers.gate import Gate
from ec2map_sync.protocol import wire
from ec2map_sync.rules.claims import Believe, believe_none
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.rules.names import EC2API, is_cell, sink_of
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.values import Bus, Cell, Peer
from ec2map_sync.sinks import Sink, memory
from ec2map_sync.sinks.cells import cells_of
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.guests import GuestView, Remembered
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.promises import Promises
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql import database


class Region:
    """One region, as its configuration describes it.

    Parts are opened when first asked for: what is not needed need not be
    configured, nor answer. A process makes its own after it was forked.
    ``patience`` is how many seconds a silent database is waited for;
    ``reads_only`` promises that nothing is written to any.
    """

    def __init__(
        self,
        config: Config,
        *,
        patience: int = database.PATIENCE,
        reads_only: bool = False,
    ) -> None:
        self.config = config
        self._patience = patience
        self._reads_only = reads_only
        self._engines: list[Engine] = []

    @cached_property
    def bus(self) -> Bus:
        """How regions reach each other."""
        return self.config.bus

    @cached_property
    def engine(self) -> Engine:
        """The ledger's database."""
        return self.open(self.config.ledger, "[ledger] connection")

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; whether its schema fits is the caller's to see."""
        return Ledger(self.engine, self.config.scheme)

    @property
    def sink_names(self) -> list[str]:
        """The names of the sinks.

        Where Nova names the cells, those that have begun: the ledger
        remembers them, also while Nova's API database is away.
        """
        cells = [sink_of(cell.name) for cell in self.config.cells]
        if self.config.nova_api is not None:
            cells = sorted(filter(is_cell, self.ledger.queries.cursors()))
        return cells if self.config.ec2api is None else [*cells, EC2API]

    @cached_property
    def sinks(self) -> list[Sink]:
        """The sinks, cells that Nova lists at this moment included.

        :raises sqlalchemy.exc.SQLAlchemyError: Nova's API database is away.
        """
        sinks: list[Sink] = [self.cell(cell) for cell in cells_of(self.config)]
        if self.config.ec2api is not None:
            sinks.append(self.ec2api(self.config.ec2api))
        return sinks

    def cell(self, cell: Cell) -> NovaSink:
        """Returns the sink of a Nova cell."""
        return NovaSink(cell.name, self.open(cell.url, f"cell {cell.name}"))

    def ec2api(self, url: URL) -> Ec2ApiSink:
        """Returns the sink in ec2-api's database."""
        return Ec2ApiSink(self.open(url, "[ec2api] connection"))

    def sink(self, name: str) -> Sink:
        """Returns a sink by its name.

        :raises ConfigError: there is no such sink.
        """
        for found in self.sinks:
            if found.name == name:
                return found
        known = ", ".join(found.name for found in self.sinks) or "none"
        raise ConfigError(f"no sink {name!r}; configured: {known}")

    def remembered(self, sink: str) -> Remembered | None:
        """Returns what tells which ids Nova remembers of a sink's cell."""
        servers = self.config.memcached(sink)
        if not servers:
            return None
        tls = self.config.memcached_tls(sink)
        return lambda images: memory.remembered(servers, images, tls)

    def guests(self, sink: NovaSink) -> GuestView:
        """Returns what looks at a cell as its guests do."""
        return GuestView(self.ledger, sink, self.remembered(sink.name))

    @cached_property
    def believe(self) -> Believe:
        """Says which of the ids that images name are ec2-api's word."""
        if self.config.ec2api is None:
            return believe_none
        ec2api = self.ec2api(self.config.ec2api)
        return Promises(self.ledger, ec2api, lambda: self.sinks).judged

    def writer(self, sink: Sink) -> Writer:
        """Returns what writes into a sink."""
        rewrites = self.config.rewrite_rows and is_cell(sink.name)
        return Writer(
            self.ledger,
            sink,
            rewrite=rewrites,
            notes=bool(self.config.memcached(sink.name)),
        )

    @cached_property
    def pen(self) -> wire.Pen:
        """How we sign."""
        return wire.Pen(
            region=self.bus.region,
            scheme=self.config.scheme.fingerprint,
            key=self.bus.key,
            clock=wall_clock,
        )

    def trust(self, peer: Peer) -> wire.Trust:
        """Returns whom we believe as this peer."""
        return wire.Trust(
            sender=peer.name, keys=peer.keys, scheme=self.pen.scheme
        )

    @cached_property
    def trusted(self) -> dict[str, wire.Trust]:
        """Whom we believe, by name."""
        return {peer.name: self.trust(peer) for peer in self.bus.peers}

    def gate(self, started: float, *, but_for_held: bool = False) -> Gate:
        """Returns what tells whether claims may be made already."""
        return Gate(
            self.ledger,
            [peer.name for peer in self.bus.peers],
            started=started,
            wait=self.bus.claim_wait,
            clock=wall_clock,
            but_for_held=but_for_held,
        )

    def asker(self, peer: Peer) -> asking.Asker:
        """Returns what talks with a peer beside the agent."""
        return asking.Asker(
            self.ledger,
            asking.Aside(peer, self.bus),
            self.trust(peer),
            self.pen,
            deadline=asking.DEADLINE,
        )

    def peers(self, name: str | None = None) -> Sequence[Peer]:
        """Returns the peers, or one of them.

        :raises ConfigError: no peer has this name.
        """
        found = [p for p in self.bus.peers if name in {None, p.name}]
        if name is not None and not found:
            known = ", ".join(p.name for p in self.bus.peers) or "none"
            raise ConfigError(f"no peer {name!r}; configured: {known}")
        return found

    def outlet(self) -> Outlet:
        """Returns what publishes on our own broker.

        :raises ConfigError: there is none.
        """
        return Outlet(self.own_broker, self.bus.exchange)

    @property
    def own_broker(self) -> Address:
        """Our own broker.

        :raises ConfigError: there is none.
        """
        if self.bus.broker is None:
            raise ConfigError("[bus] url is missing: our own broker")
        return self.bus.broker

    def open(self, url: URL, option: str) -> Engine:
        """Makes an engine whose errors name the option that it comes from."""
        engine = database.create_engine(
            url, patience=self._patience, reads_only=self._reads_only
        )

        @event.listens_for(engine, "handle_error")
        def name(context: ExceptionContext) -> None:
            if context.sqlalchemy_exception is not None:
                context.sqlalchemy_exception.add_note(option)

        self._engines.append(engine)
        return engine

    def close(self) -> None:
        """Drops all connections to databases."""
        for engine in self._engines:
            engine.dispose()
