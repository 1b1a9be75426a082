"""What commands open: the ledger, the sinks, the peers of a region."""

from collections.abc import Sequence
from functools import cached_property

from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, ExceptionContext
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.peers import asking, bus
from ec2map_sync.protocol import wire
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings.config import Bus, Cell, Config, Peer
from ec2map_sync.sinks import Sink
from ec2map_sync.sinks.cells import cells_of
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.windows import Ec2ApiWindow, NovaWindow, Window
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql import database


class Region:
    """One region, as its configuration describes it.

    Parts are opened when first asked for: what a command does not need
    need not be configured, nor answer.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._engines: list[Engine] = []

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, with the schema that this release needs."""
        engine = self._engine(self.config.ledger, "[ledger] connection")
        schema.require(engine)
        return Ledger(engine, self.config.scheme)

    @cached_property
    def options(self) -> Bus:
        """How regions reach each other."""
        return self.config.bus

    @property
    def sinks(self) -> list[str]:
        """The names of the sinks.

        Where Nova does not say which cells there are, those that the ledger
        remembers.
        """
        try:
            cells = [f"nova:{cell.name}" for cell in self._known_cells]
        except SQLAlchemyError:
            cursors = self.ledger.queries.cursors()
            cells = sorted(n for n in cursors if n.startswith("nova:"))
        return cells if self.config.ec2api is None else [*cells, "ec2api"]

    @cached_property
    def windows(self) -> list[Window]:
        """A view into each sink."""
        windows: list[Window] = [
            NovaWindow(name, engine) for name, engine in self._cells.items()
        ]
        if self._ec2api is not None:
            windows.append(Ec2ApiWindow(self._ec2api))
        return windows

    def sink(self, sink: str) -> Sink:
        """Give a sink by its name.

        :raises ConfigError: there is no such sink.
        """
        sinks: list[Sink] = [
            NovaSink(name, engine) for name, engine in self._cells.items()
        ]
        if self._ec2api is not None:
            sinks.append(Ec2ApiSink(self._ec2api))
        for found in sinks:
            if found.name == sink:
                return found
        known = ", ".join(found.name for found in sinks) or "none"
        raise ConfigError(f"no sink {sink!r}; configured: {known}")

    def writer(self, sink: str) -> Writer:
        """Give what writes into a sink.

        :raises ConfigError: there is no such sink.
        """
        rewrite = self.config.rewrite_rows and sink != Ec2ApiSink.name
        return Writer(self.ledger, self.sink(sink), rewrite=rewrite)

    @cached_property
    def pen(self) -> wire.Pen:
        """How we sign."""
        return wire.Pen(
            region=self.options.region,
            scheme=self.config.scheme.fingerprint,
            key=self.options.key,
            clock=wall_clock,
        )

    def trust(self, peer: Peer) -> wire.Trust:
        """Tell whom we believe as this peer."""
        return wire.Trust(
            sender=peer.name, keys=peer.keys, scheme=self.pen.scheme
        )

    def asker(self, peer: Peer) -> asking.Asker:
        """Give what talks with a peer beside the agent."""
        return asking.Asker(
            self.ledger,
            asking.Aside(peer, self.options),
            self.trust(peer),
            self.pen,
            deadline=asking.DEADLINE,
        )

    def peers(self, name: str | None = None) -> Sequence[Peer]:
        """Give the peers, or one of them.

        :raises ConfigError: no peer has this name.
        """
        found = [p for p in self.options.peers if name in {None, p.name}]
        if name is not None and not found:
            known = ", ".join(p.name for p in self.options.peers) or "none"
            raise ConfigError(f"no peer {name!r}; configured: {known}")
        return found

    def outlet(self) -> bus.Outlet:
        """Give what publishes on our own broker.

        :raises ConfigError: there is none.
        """
        return bus.Outlet(self.own_broker, self.options.exchange)

    @property
    def own_broker(self) -> str:
        """Our own broker's URL.

        :raises ConfigError: there is none.
        """
        if self.options.url is None:
            raise ConfigError("[bus] url is missing: our own broker")
        return self.options.url

    def close(self) -> None:
        """Drop all connections to databases."""
        for engine in self._engines:
            engine.dispose()

    @cached_property
    def _cells(self) -> dict[str, Engine]:
        return {
            cell.name: self._engine(cell.url, f"cell {cell.name}")
            for cell in self._known_cells
        }

    @cached_property
    def _ec2api(self) -> Engine | None:
        url = self.config.ec2api
        return url and self._engine(url, "[ec2api] connection")

    @cached_property
    def _known_cells(self) -> list[Cell]:
        return cells_of(self.config)

    def _engine(self, url: URL, option: str) -> Engine:
        engine = named_engine(url, option)
        self._engines.append(engine)
        return engine


def named_engine(url: URL, option: str) -> Engine:
    """Make an engine whose errors name the option that it comes from."""
    engine = database.create_engine(url)

    @event.listens_for(engine, "handle_error")
    def name(context: ExceptionContext) -> None:
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.add_note(option)

    return engine
