"""The package's own ledger on tables in memory, for many short histories.

What claims do there is the package's: `Recording` joins, settles, counts and
writes, `Board` decides, `spend` asks a database for what a peer has used.
Played are the tables below them, a dictionary each, and reads of ranges; the
same histories on SQLite come to the same, which a test shows.
"""

from bisect import bisect_left
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate, count
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from ec2map_sync.ledger import (
    Ledger,
    PeerState,
    Quarantined,
    known,
    ledger,
    own,
    recording,
    tables as stored,
)
from ec2map_sync.ledger.bookkeeping import Bookkeeping
from ec2map_sync.ledger.known import Glimpse, Head, claim_of_row, head_of
from ec2map_sync.rules.claims import (
    BEGINNING,
    SUM_MODULUS,
    Bound,
    Claim,
    Print,
    Range,
    Span,
    Stamp,
)
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.sketches import Shape, Sketch, sketch_of
from simulation.region import Files, copy_into

Rows = dict[Any, list[Any]]
"""The rows of a table by their first column."""


def _row(table: sa.Table) -> Any:
    return namedtuple(
        f"{table.name}_row", [column.name for column in table.columns]
    )


_PLAYED = {t.name: _row(t) for t in (stored.claims, stored.numbers)}
_PLAYED[stored.passed.name] = _row(stored.passed)
_HEAD = namedtuple(
    "_HEAD", [*(column.name for column in stored.head.columns), "clock"]
)


_FREE: list[sa.Engine] = []


def _new_engine() -> sa.Engine:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    stored.evictions.create(engine)
    return engine


class Tables:
    """What a ledger has written, and what a transaction may undo."""

    def __init__(self) -> None:
        self.head = _HEAD(1, "", "", 0, 0, 0, 0, None)
        self.rows: dict[str, Rows] = {name: {} for name in _PLAYED}
        self.moves: list[dict[str, Any]] = []
        self.undo: list[Callable[[], object]] = []
        self._engine: sa.Engine | None = None

    def evictions(self) -> sa.Connection:
        """Begin a transaction of the one table that is asked by SQL."""
        if self._engine is None:
            self._engine = _FREE.pop() if _FREE else _new_engine()
        return self._engine.connect()

    def close(self) -> None:
        """Leave that table, empty, to another ledger."""
        if self._engine is not None:
            with self._engine.begin() as connection:
                connection.execute(sa.delete(stored.evictions))
            _FREE.append(self._engine)

    def put(self, table: str, key: Any, rows: Sequence[Any]) -> None:
        """Put rows in the place of those under a key."""
        there = self.rows[table]
        old = there.get(key, [])
        self.undo.append(lambda: there.__setitem__(key, old))
        there[key] = [*rows]


class _One(NamedTuple):
    """The result of a statement that reads one row."""

    row: Any

    def one(self) -> Any:
        """Give it."""
        return self.row


class Transaction:
    """What `Recording` is given as its connection."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._evictions: sa.Connection | None = None

    def __enter__(self) -> "Transaction":
        """Begin."""
        self.tables.undo.clear()
        return self

    def __exit__(self, *_error: object) -> None:
        """Undo what was not committed."""
        for undo in reversed(self.tables.undo):
            undo()
        self.tables.undo.clear()
        if self._evictions is not None:
            self._evictions.close()

    def commit(self) -> None:
        """Keep what was written."""
        self.tables.undo.clear()
        if self._evictions is not None:
            self._evictions.commit()

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Do what `Recording` and `spend` ask for, and nothing else."""
        tables = self.tables
        if statement is recording._LOCK:
            return _One(tables.head)
        if getattr(statement, "table", None) is stored.own_claims:
            return None  # here, the claims themselves tell
        if isinstance(statement, sa.Update) and statement.table is stored.head:
            old = tables.head
            tables.undo.append(lambda: setattr(tables, "head", old))
            tables.head = old._replace(**parameters)
        elif getattr(statement, "table", None) is stored.moves:
            before = len(tables.moves)
            tables.undo.append(
                lambda: tables.moves.__delitem__(slice(before, None))
            )
            tables.moves += parameters
        else:
            if self._evictions is None:
                self._evictions = tables.evictions()
            return self._evictions.execute(statement, parameters)
        return None


def _select_in(
    connection: Any, statement: Any, column: Any, values: Any
) -> Any:
    if not isinstance(connection, Transaction):
        return _SELECT_IN(connection, statement, column, values)
    rows = connection.tables.rows[column.table.name]
    return [row for value in set(values) for row in rows.get(value, ())]


def _delete_in(connection: Any, column: Any, values: Any) -> None:
    if not isinstance(connection, Transaction):
        _DELETE_IN(connection, column, values)
        return
    for value in values:
        connection.tables.put(column.table.name, value, ())


def _insert(connection: Any, columns: Any, rows: Any) -> None:
    if not isinstance(connection, Transaction):
        _INSERT(connection, columns, rows)
        return
    name, tables = columns[0].table.name, connection.tables
    if name == stored.own_claims.name:
        return
    for row in map(_PLAYED[name]._make, rows):
        there = tables.rows[name].get(row[0], [])
        # As a primary key would have it.
        assert name == stored.passed.name or not there, (name, row, there)
        tables.put(name, row[0], [*there, row])


def _glimpse(connection: Any, images: Any, scheme: Scheme) -> Glimpse:
    if not isinstance(connection, Transaction):
        return _GLIMPSE(connection, images, scheme)
    there = connection.tables.rows["numbers"]
    homes = {image: scheme.derive(image) for image in images}
    free = frozenset(n for n in homes.values() if not there.get(n))
    maybe = [image for image, home in homes.items() if home not in free]
    return Glimpse(
        revision=connection.tables.head.revision,
        known=known.look_up(connection, maybe),
        free=free,
    )


_SELECT_IN, _GLIMPSE = known.select_in, ledger.glimpse
_DELETE_IN, _INSERT = recording.delete_in, recording.insert


@contextmanager
def played() -> Iterator[None]:
    """Let what the ledger asks for be answered from tables in memory."""
    with (
        mock.patch.object(known, "select_in", _select_in),
        mock.patch.object(recording, "delete_in", _delete_in),
        mock.patch.object(recording, "insert", _insert),
        mock.patch.object(own, "insert", _insert),
        mock.patch.object(ledger, "glimpse", _glimpse),
    ):
        yield


class _Engine:
    """Makes transactions."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def execution_options(self, **_options: object) -> "_Engine":
        """Take them for granted."""
        return self

    def connect(self) -> Transaction:
        """Begin a transaction."""
        return Transaction(self._tables)


class Held:
    """The quarantine, as far as a Follower and an operator use it."""

    def __init__(self) -> None:
        self.entries: dict[int, Quarantined] = {}
        self._numbers = count(1)

    def put(self, entries: Sequence[Quarantined]) -> None:
        """Keep entries."""
        for entry in entries:
            self.entries[next(self._numbers)] = entry

    def newest(self) -> list[Any]:
        """Give all, the newest first."""
        return [
            replace(entry, id=id_)
            for id_, entry in reversed(self.entries.items())
        ]

    def entry(self, id_: int) -> Quarantined:
        """Give one."""
        return self.entries[id_]

    def release(self, ids: Sequence[int]) -> None:
        """Take some out."""
        for id_ in ids:
            self.entries.pop(id_, None)


class Journal:
    """What was noted of peers last."""

    def __init__(self) -> None:
        self.peers: dict[str, dict[str, int | None]] = {}

    def note_peer(self, name: str, **fields: int | None) -> None:
        """Remember some fields."""
        self.peers.setdefault(name, {}).update(fields)

    def peer_states(self) -> dict[str, PeerState]:
        """Give what is known of each peer."""
        return {
            name: PeerState(name=name, **fields)
            for name, fields in self.peers.items()
        }


class Intact:
    """Says that no copy is known to be wrong: what is played is not edited."""

    def state(self) -> Bookkeeping:
        """Give what is known."""
        return Bookkeeping()


class InMemory(Ledger):
    """A ledger that lasts as long as its history."""

    def __init__(self, scheme: Scheme, clock: Callable[[], Stamp]) -> None:
        self.tables = Tables()
        super().__init__(_Engine(self.tables), scheme, clock)  # type: ignore[arg-type]
        self.quarantine: Any = Held()
        self.journal: Any = Journal()
        self.copies: Any = Intact()
        self._read_at = -1
        self._claims: dict[str, Claim] = {}
        self._sorted: list[Claim] = []
        self._sums = [0]

    def close(self) -> None:
        """Forget everything."""
        self.tables.close()

    def everything(self) -> dict[str, Claim]:
        """Give all claims."""
        self._read()
        return dict(self._claims)

    def mapping(self) -> dict[str, int]:
        """Give the number of each image that has one."""
        rows = self.tables.rows["claims"].values()
        return {
            row.image: row.number
            for some in rows
            for row in some
            if row.number is not None
        }

    def seats(self) -> dict[int, str]:
        """Give who sits on each number, also where it is in reserve."""
        rows = self.tables.rows["numbers"].values()
        return {
            row.number: row.wish_image
            for some in rows
            for row in some
            if row.wish_image is not None
        }

    def moves(self) -> int:
        """Count the moves."""
        return len(self.tables.moves)

    def head(self) -> Head:
        """Give the head."""
        return head_of(self.tables.head)

    def print_before(self, until: Stamp) -> tuple[Head, Print]:
        """Give the head, and what was claimed before."""
        span = Span(BEGINNING, Bound(until))
        return self.head(), self._print(span)

    def prints_of(
        self,
        spans: Sequence[Span],
        most: Sequence[int] = (),  # noqa: ARG002
    ) -> list[Print]:
        """Give the print of each span."""
        return [self._print(span) for span in spans]

    def split(self, span: Span) -> list[Range]:
        """Cut a span where `ranges.split` does."""
        some = self._within(span)
        if not some:
            return []
        low, high = some[0].claimed_at, some[-1].claimed_at
        shift = max(0, (low ^ high).bit_length() - 5)
        parts = sorted({claim.claimed_at >> shift for claim in some})
        spans = [
            Span(
                max(Bound(part << shift), span.start),
                min(Bound((part + 1) << shift), span.stop),
            )
            for part in parts
        ]
        return [Range(span=part, print=self._print(part)) for part in spans]

    def page(self, span: Span, limit: int) -> list[Claim]:
        """Give the first claims of a span."""
        return self._within(span)[:limit]

    def sketch_of(self, spans: Sequence[Span], shape: Shape) -> Sketch:
        """Give the sketch of some spans."""
        return sketch_of((c.hash for c in self._in_any(spans)), shape)

    def hashed(
        self, spans: Sequence[Span], hashes: Iterable[int]
    ) -> list[Claim]:
        """Give the claims in some spans that have one of the hashes."""
        wanted = set(hashes)
        return [c for c in self._in_any(spans) if c.hash in wanted]

    def _in_any(self, spans: Sequence[Span]) -> list[Claim]:
        found = {c.image: c for span in spans for c in self._within(span)}
        return sorted(found.values(), key=_bound)

    def _read(self) -> None:
        if self._read_at == self.tables.head.revision:
            return
        self._read_at = self.tables.head.revision
        rows = self.tables.rows["claims"].values()
        self._claims = {
            row.image: claim_of_row(row) for some in rows for row in some
        }
        self._sorted = sorted(self._claims.values(), key=_bound)
        stored_claims = self.tables.rows["claims"]
        hashes = (stored_claims[c.image][0].hash for c in self._sorted)
        self._sums = [0, *accumulate(hashes)]

    def _places(self, span: Span) -> tuple[int, int]:
        self._read()
        return (
            bisect_left(self._sorted, span.start, key=_bound),
            bisect_left(self._sorted, span.stop, key=_bound),
        )

    def _within(self, span: Span) -> list[Claim]:
        return self._sorted[slice(*self._places(span))]

    def _print(self, span: Span) -> Print:
        first, stop = self._places(span)
        total = self._sums[stop] - self._sums[first]
        return Print(stop - first, total % SUM_MODULUS)


_bound = attrgetter("bound")


class OnDisk(Ledger):
    """The same in a database: slower, and nothing of it played."""

    def __init__(self, scheme: Scheme, clock: Callable[[], Stamp]) -> None:
        self._directory = TemporaryDirectory()
        files = Files(Path(self._directory.name))
        path = files.path("ledger")
        copy_into(path, files.new_ledger())
        super().__init__(files.engine(path), scheme, clock)

    def close(self) -> None:
        """Delete it."""
        self._engine.dispose()
        self._directory.cleanup()

    def everything(self) -> dict[str, Claim]:
        """Give all claims."""
        rows = self._rows(sa.select(stored.claims))
        return {row.image: claim_of_row(row) for row in rows}

    def mapping(self) -> dict[str, int]:
        """Give the number of each image that has one."""
        return self.numbers_of(self.everything())

    def seats(self) -> dict[int, str]:
        """Give who sits on each number, also where it is in reserve."""
        n = stored.numbers.c
        rows = self._rows(sa.select(n.number, n.wish_image))
        return {number: image for number, image in rows if image is not None}

    def moves(self) -> int:
        """Count the moves."""
        return self._scalar(sa.select(sa.func.count(stored.moves.c.id)))


def same(one: Mapping[str, Claim], other: Mapping[str, Claim]) -> str:
    """Say what two sets of claims differ by; nothing, if they do not."""
    differing = [
        image
        for image in one.keys() | other.keys()
        if one.get(image) != other.get(image)
    ]
    return ", ".join(sorted(differing))
