"""One region: its clock, ledger, cells, and the hosts that serve it."""

import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from ec2map_sync.agent.health import Memory
from ec2map_sync.ledger import PUBLISHING, Ledger, schema
from ec2map_sync.peers.answerer import Answerer
from ec2map_sync.peers.follower import Follower
from ec2map_sync.peers.gate import Gate
from ec2map_sync.peers.publisher import Publisher
from ec2map_sync.protocol import wire
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.rules.claims import (
    Claim,
    SeenKind,
    Sighting,
    Stamp,
    Wanted,
    join,
)
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.sinks.audit import SinkAuditor, Sweep
from ec2map_sync.sinks.nova import NovaSink, s3_images
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url
from simulation.bus import Inbox, Inlet, Network, Outlet
from simulation.faults import Fuse

CLAIM_WAIT = 30.0
HEARTBEAT_INTERVAL = 4.0
AUDIT_INTERVAL = 24 * 3600.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0

_CLAIMS = """
    SELECT image, spelling, claimed_at, wanted_at, wanted, kind_at, kind,
        number, hash
    FROM claims
"""

_SEATS = """
    SELECT number, wish_image FROM numbers WHERE wish_image IS NOT NULL
"""
_NEWEST_OWN = "SELECT max(own_revision) FROM claims"
_NEWEST_NUMBER = "SELECT max(revision) FROM numbers"
_POSITION = "SELECT revision FROM cursors WHERE name = ?"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a region is built of; mutants are put in here."""

    follower: type[Follower] = Follower
    publisher: type[Publisher] = Publisher
    answerer: type[Answerer] = Answerer
    writer: type[Writer] = Writer
    gate: type[Gate] = Gate
    memory: type[Memory] = Memory


class Wrong(AssertionError):
    """A history has broken a guarantee."""


@cache
def signing_key(_region: str) -> SigningKey:
    """Give a region's key, always the same in one run."""
    return SigningKey.generate()


@dataclass(eq=False)
class Process:
    """A loop of the agent: it steps, recovers from errors, and may die."""

    name: str
    build: Callable[[], None]
    step: Callable[[], object] = lambda: None
    recover: Callable[[], None] = lambda: None
    has_work: Callable[[], bool] = lambda: True
    pause: float = FIRST_PAUSE
    rests_until: float = 0.0

    def start(self) -> None:
        """Begin with nothing in memory."""
        self.over()
        self.recover()
        self.build()

    def fail(self, now: float) -> None:
        """Recover, and rest: longer each time, as `running.loop` does."""
        self.rests_until = now + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)
        self.recover()

    def over(self) -> None:
        """Forget the trouble."""
        self.pause, self.rests_until = FIRST_PAUSE, 0.0


@dataclass(eq=False)
class Cell:
    """A Nova cell's database, with rows of its own."""

    sink: NovaSink
    engine: sa.Engine
    foreign: dict[int, str]

    def rows(self) -> dict[int, str]:
        """Give the whole table."""
        with self.engine.connect() as connection:
            found = connection.execute(
                sa.select(s3_images.c.id, s3_images.c.uuid)
            )
            return {row.id: row.uuid for row in found}

    def insert(self, number: int, uuid: str) -> None:
        """Make a row as Nova does."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(s3_images).values(id=number, uuid=uuid)
            )


class Files:
    """A directory, and ledgers as they were copied."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count()

    def path(self, name: str) -> Path:
        """Name a file that does not exist yet."""
        return self._directory / f"{name}-{next(self._numbers)}"

    def engine(self, path: Path) -> sa.Engine:
        """Open a database as the package does; nothing has to last."""
        engine = create_engine(parse_url(f"sqlite:///{path}", "test"))

        @sa.event.listens_for(engine, "connect")
        def hasten(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute("PRAGMA synchronous=OFF")

        return engine

    def new_ledger(self) -> sqlite3.Connection:
        """Give an empty ledger with an identity of its own."""
        ledger = sqlite3.connect(":memory:")
        empty_ledger().backup(ledger)
        identity = f"ledger {next(self._numbers)}"
        ledger.execute("UPDATE head SET identity = ?", (identity,))
        ledger.commit()
        return ledger


@cache
def empty_ledger() -> sqlite3.Connection:
    """Make a ledger by the package's migrations, once."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "ledger"
        engine = create_engine(parse_url(f"sqlite:///{path}", "test"))
        schema.upgrade(engine)
        engine.dispose()
        return copy_of(path)


def copy_of(path: Path) -> sqlite3.Connection:
    """Copy a database into memory."""
    copy = sqlite3.connect(":memory:")
    with sqlite3.connect(path) as source:
        source.backup(copy)
    source.close()
    return copy


def copy_into(path: Path, content: sqlite3.Connection) -> None:
    """Put a copied database into a file."""
    with sqlite3.connect(path) as target:
        content.backup(target)
    target.close()


@dataclass(eq=False)
class Host:
    """One machine of a region: all of the agent's loops."""

    name: str
    state: Path
    processes: list[Process] = field(default_factory=list)
    gate: Gate | None = None
    sweeps: list[Process] = field(default_factory=list)


class Region:
    """A region as it lives through a history."""

    def __init__(
        self,
        name: str,
        *,
        scheme: Scheme,
        network: Network,
        fuse: Fuse,
        files: Files,
        parts: Parts,
        now: Callable[[], float],
        skew: float,
        batch_size: int,
        max_evictions: int,
    ) -> None:
        self.name = name
        self.scheme = scheme
        self.network = network
        self.parts = parts
        self.skew = skew
        self.alive = True
        self.honest = True
        self.losses: list[tuple[float, int]] = []
        """When how many numbers were no longer those of who had them."""
        self.peers: list[str] = []
        self.hosts: list[Host] = []
        self.cells: list[Cell] = []
        self.notifications: deque[Sighting] = deque()
        self.restored = False
        """Whether the ledger may have forgotten rows that it has written."""
        self.caught_up = True
        """False from a restore until the next moment of rest."""
        self.moves_by_restore: set[str] = set()
        self._fuse = fuse
        self._files = files
        self._now = now
        self._batch_size = batch_size
        self._max_evictions = max_evictions
        self._hosts = count(1)
        self._published_at = -HEARTBEAT_INTERVAL
        self.pen = wire.Pen(
            region=name,
            scheme=scheme.fingerprint,
            key=signing_key(name),
            clock=self.clock,
        )
        self._open(files.new_ledger())

    def clock(self) -> Stamp:
        """Give the time as this region has it."""
        return int((self._now() + self.skew) * 1_000_000)

    # The ledger's file.

    def _open(self, content: sqlite3.Connection) -> None:
        self.path = self._files.path(self.name)
        copy_into(self.path, content)
        self.engine = self._files.engine(self.path)
        self._fuse.watch(self.engine)
        self.ledger = Ledger(self.engine, self.scheme, self.clock)
        self._watch()

    def _watch(self) -> None:
        """Begin to look at a ledger that is another one than before."""
        self.eye = sqlite3.connect(self.path)
        self._watched = False
        self.revision = -1
        """Of the ledger, as last looked at."""
        self._rows: dict[str, tuple[object, ...]] = {}
        self.claims: dict[str, Claim] = {}
        """Every claim in the ledger, as last looked at."""
        self.numbers: dict[str, int | None] = {}
        self._seats: dict[int, str] = {}
        self._last_move = 0
        self.observe()
        self._watched = True

    def copy(self) -> sqlite3.Connection:
        """Make a backup of the ledger."""
        return copy_of(self.path)

    def restore(self, content: sqlite3.Connection | None) -> None:
        """Put a backup, or an empty ledger, in the place of the ledger."""
        hosts = [host.state for host in self.hosts]
        self.stop()
        self.close()
        self._open(content or self._files.new_ledger())
        self.restored, self.caught_up = True, False
        for state in hosts:
            self.start_host(state)

    def empty_under_agent(self) -> None:
        """Empty the ledger while the agents go on."""
        self.eye.close()
        self.engine.dispose()  # or they would still see the old pages
        copy_into(self.path, self._files.new_ledger())
        self.restored, self.caught_up = True, False
        self._watch()

    def close(self) -> None:
        """Close the ledger's file."""
        self.eye.close()
        self.engine.dispose()
        for end in ("", "-wal", "-shm"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)

    # The processes.

    def add_cell(self, foreign: dict[int, str]) -> None:
        """Add a Nova cell that already has some rows."""
        engine = self._files.engine(self._files.path("nova"))
        s3_images.metadata.create_all(engine)
        name = f"cell{len(self.cells) + 1}"
        cell = Cell(NovaSink(name, engine), engine, foreign)
        for number, uuid in foreign.items():
            cell.insert(number, uuid)
        self._fuse.watch(engine)
        self.cells.append(cell)

    def start_host(self, state: Path | None = None) -> None:
        """Start an agent."""
        name = f"{self.name}-{next(self._hosts)}"
        host = Host(name, state or self._files.path(name))
        started = self._now()
        host.processes = [
            self._memory(host),
            self._listener(host, started),
            self._publisher(),
            self._answerer(),
            *(self._follower(peer) for peer in self.peers),
            *(self._writer(cell) for cell in self.cells),
            *(self._sweep(host, cell) for cell in self.cells),
        ]
        self.hosts.append(host)
        for process in host.processes:
            process.build()
        host.processes[0].step()  # before anything is done

    def stop(self) -> None:
        """Stop every agent."""
        for host in self.hosts:
            for process in host.processes:
                process.recover()
        self.hosts.clear()

    def restart(self) -> None:
        """Start every agent anew, with the peers that are known by now."""
        states = [host.state for host in self.hosts]
        self.stop()
        for state in states:
            self.start_host(state)

    @property
    def processes(self) -> list[Process]:
        """Every loop of every host."""
        return [p for host in self.hosts for p in host.processes]

    def _memory(self, host: Host) -> Process:
        memory = self.parts.memory(path=host.state)

        def build() -> None:
            process.step = lambda: memory.check(self.ledger)

        process = Process("memory", build, has_work=lambda: False)
        return process

    def _listener(self, host: Host, started: float) -> Process:
        def build() -> None:
            host.gate = self.parts.gate(
                self.ledger,
                self.peers,
                started=started,
                wait=CLAIM_WAIT,
                clock=self.clock,
                monotonic=self._now,
            )

        def step() -> None:
            assert host.gate is not None
            if not self.notifications or not host.gate.is_open():
                return
            batch = list(self.notifications)[: self._batch_size]
            self.ledger.see(batch)
            self._fuse.on_bus(lambda: None)
            for sighting in batch:
                self.notifications.remove(sighting)
            self.observe()
            for sighting in batch:
                claim = self.claims.get(sighting.image)
                if claim is None or (sighting.kind and not claim.kind):
                    raise Wrong(f"{self.name} has not recorded {sighting}")

        return Process("listener", build, step)

    def _publisher(self) -> Process:
        def build() -> None:
            outlet = Outlet(self.network, self.name)
            worker = self.parts.publisher(
                self.ledger,
                outlet,  # type: ignore[arg-type]
                self.pen,
                batch_size=self._batch_size,
                heartbeat_interval=HEARTBEAT_INTERVAL,
                monotonic=self._now,
            )
            process.step, process.recover = worker.step, outlet.close

        process = Process("publisher", build, has_work=self._publishes)
        return process

    def _publishes(self) -> bool:
        due = self._now() - self._published_at >= HEARTBEAT_INTERVAL
        if due or not self.has_read(PUBLISHING):
            self._published_at = self._now()
            return True
        return False

    def _answerer(self) -> Process:
        def build() -> None:
            worker = self.parts.answerer(
                self.ledger,
                Inbox(self.network, self.name),  # type: ignore[arg-type]
                Outlet(self.network, self.name),  # type: ignore[arg-type]
                self.pen,
                {peer: self.trust(peer) for peer in self.peers},
                patience=0,
            )
            process.step, process.recover = worker.step, worker.close

        process = Process("answerer", build)
        return process

    def _follower(self, peer: str) -> Process:
        def build() -> None:
            worker = self.parts.follower(
                self.ledger,
                Inlet(self.network, self.name, peer),  # type: ignore[arg-type]
                self.trust(peer),
                self.pen,
                recorded=lambda: None,
                patience=0,
                # Nobody is here to say that moves are right.
                max_moves=10**9,
                max_evictions=self._max_evictions,
                monotonic=self._now,
            )
            process.step, process.recover = worker.step, worker.reset

        process = Process(f"follower of {peer}", build)
        return process

    def _writer(self, cell: Cell) -> Process:
        def build() -> None:
            worker = self.parts.writer(self.ledger, cell.sink, rewrite=False)
            process.step = worker.step

        name = cell.sink.name
        process = Process(f"writer of {name}", build)
        process.has_work = lambda: not self.has_read(name)
        return process

    def _sweep(self, host: Host, cell: Cell) -> Process:
        """Audit a cell once after each start, when claims may be made."""

        def build() -> None:
            writer = self.parts.writer(self.ledger, cell.sink, rewrite=False)
            sweep = Sweep(self.ledger, cell.sink, writer)
            auditor = SinkAuditor(
                sweep,
                cell.sink.name,
                may_begin=lambda: bool(host.gate and host.gate.is_open()),
                interval=AUDIT_INTERVAL,
                monotonic=self._now,
            )
            process.step = auditor.step
            process.has_work = lambda: not sweep.complete

        process = Process(f"sweep of {cell.sink.name}", build)
        host.sweeps.append(process)
        return process

    def trust(self, peer: str) -> wire.Trust:
        """Give whom to believe as a peer."""
        key = PublicKey(signing_key(peer).public)
        return wire.Trust(
            sender=peer, keys=(key,), scheme=self.scheme.fingerprint
        )

    # Looking at the ledger from outside, after each step.

    def observe(self) -> None:
        """Look whether what was committed may follow what was there."""
        (revision,) = self.eye.execute("SELECT revision FROM head").fetchone()
        if revision == self.revision:
            return
        self.revision = revision
        rows = {row[0]: row for row in self.eye.execute(_CLAIMS)}
        for image, row in rows.items():
            if self._rows.get(image) != row:
                self._observe_claim(image, row)
        if lost := self._rows.keys() - rows.keys():
            raise Wrong(f"{self.name} has lost the claims of {sorted(lost)}")
        self._rows = rows
        after = {image: row[7] for image, row in rows.items()}
        self._observe_moves(after)
        self.numbers = after
        self._observe_seats()

    def decided(self) -> None:
        """Look at what an operator has decided: it is nobody's attack."""
        before = list(self.losses)
        self.observe()
        self.losses = before

    def _observe_seats(self) -> None:
        """Count whoever has lost a number, or one in reserve."""
        seats = dict(self.eye.execute(_SEATS))
        lost = sum(seats.get(n) != image for n, image in self._seats.items())
        if lost and self._watched:
            self.losses.append((self._now(), lost))
        self._seats = seats

    def _observe_claim(self, image: str, row: tuple[object, ...]) -> None:
        before, claim = self.claims.get(image), claim_of(row)
        if before is not None and join(before, claim) != claim:
            raise Wrong(f"{self.name} has withdrawn {before} for {claim}")
        if claim.hash != row[8]:
            raise Wrong(f"{self.name} has a wrong hash of {claim}")
        self.claims[image] = claim

    def _observe_moves(self, after: dict[str, int | None]) -> None:
        """Make sure that recorded moves lead from what was to what is."""
        reached = dict(self.numbers)
        for at, image, old, new, cause in self.eye.execute(
            "SELECT id, image, old, new, cause FROM moves WHERE id > ?",
            (self._last_move,),
        ):
            self._last_move = at
            if self._watched and reached.get(image) not in {None, old}:
                raise Wrong(f"{self.name}: {image} moved from elsewhere")
            if cause not in after:
                raise Wrong(f"{self.name}: moved because of {cause!r}")
            reached[image] = new
            if not self.caught_up:
                self.moves_by_restore.add(image)
        for image, number in after.items():
            if reached.get(image) not in {None, number}:
                raise Wrong(
                    f"{self.name}: {image} went from {reached[image]} to "
                    f"{number}, and no move is recorded"
                )

    def has_read(self, reader: str) -> bool:
        """Tell whether a reader of the feeds has nothing left to read."""
        newest = _NEWEST_OWN if reader == PUBLISHING else _NEWEST_NUMBER
        (changed,) = self.eye.execute(newest).fetchone()
        at = self.eye.execute(_POSITION, (reader,)).fetchone()
        return (at[0] if at else 0) >= (changed or 0)

    def moved(self) -> set[str]:
        """Give the images that have a move on record."""
        found = self.eye.execute("SELECT DISTINCT image FROM moves")
        return {image for (image,) in found}


def claim_of(row: tuple[object, ...]) -> Claim:
    """Read a claim from a row, apart from the package's own reading."""
    image, spelling, claimed_at, wanted_at, wanted, kind_at, kind = row[:7]
    assert isinstance(claimed_at, int)
    return Claim(
        claimed_at=claimed_at,
        image=str(image),
        spelling=str(spelling),
        wanted=Wanted(wanted_at, wanted)  # type: ignore[arg-type]
        if wanted_at is not None
        else None,
        kind=SeenKind(kind_at, Kind(kind))  # type: ignore[arg-type]
        if kind_at is not None
        else None,
    )
