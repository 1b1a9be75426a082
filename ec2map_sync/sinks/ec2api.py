"""ec2-api's database: the table items, where images have ids of their own."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.rules.ec2id import DERIVED, Kind, format_id, parse_id
from ec2map_sync.rules.errors import BadId
from ec2map_sync.rules.names import EC2API
from ec2map_sync.rules.rows import Numbered, SinkRow
from ec2map_sync.sinks import Judge, Plan, Ranges, lock
from ec2map_sync.sql.database import WRITE
from ec2map_sync.sql.statements import insert, select_in

# As ec2-api 17 has it; os_id is unique.
items = sa.Table(
    "items",
    sa.MetaData(),
    sa.Column("id", sa.String(30), primary_key=True),
    sa.Column("project_id", sa.String(64)),
    sa.Column("vpc_id", sa.String(12)),
    sa.Column("os_id", sa.String(36)),
    sa.Column("data", sa.Text),
)

_ITEMS = sa.select(items.c.id, items.c.os_id)

_STAKE = lock.Stake(items.c.id, ["ec2map_sync"], {})

# A row with nothing but its two ids only maps; ec2-api uses it, and the
# owner's first call fills it in and keeps the id.
_bare = sa.and_(
    items.c.project_id.is_(None),
    items.c.vpc_id.is_(None),
    items.c.data.is_(None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A row of an image as it was found."""

    id: str
    row: SinkRow
    """Its uuid is empty while ec2-api waits for the image."""
    adopted: bool

    @property
    def image(self) -> str:
        """The lower-cased UUID."""
        return self.row.uuid.lower()


def item_of(id_: str, uuid: str | None, *, adopted: bool) -> Item:
    """Understands a row; one of another form has number 0, which none has."""
    try:
        kind, number = parse_id(id_)
    except BadId:
        kind, number = Kind.AMI, 0
    if format_id(number, kind) != id_:
        number = 0
    row = SinkRow(number=number, uuid=uuid or "", kind=kind)
    return Item(id=id_, row=row, adopted=adopted)


@dataclass(slots=True)
class _Planning:
    """Makes a plan, number by number."""

    found: Mapping[str, Item]
    is_ours: Callable[[SinkRow], bool]
    rewrite: bool
    remove: dict[str, SinkRow] = field(default_factory=dict)
    add: list[SinkRow] = field(default_factory=list)
    taken: list[SinkRow] = field(default_factory=list)

    def empty(self, items: Iterable[Item]) -> None:
        """Removes rows of ours that are no longer what is settled."""
        for item in items:
            if not item.adopted and self.is_ours(item.row):
                self.remove[item.id] = item.row

    def fill(self, wanted: Numbered, row: SinkRow, own: Item | None) -> None:
        """Has a row; ``own`` is the one that its image has now."""
        id_ = format_id(row.number, row.kind)
        if own is not None:
            if own.id == id_ and (
                wanted.is_held_by(own.row.uuid) or own.adopted
            ):
                return
            if not self._give_way(own):
                if own.row.number != row.number:
                    self.taken.append(own.row)
                return
        holder = self.found.get(id_)
        if holder is not None and not self._give_way(holder):
            if holder.image:  # else ec2-api waits there for this very one
                self.taken.append(holder.row)
            return
        self.add.append(row)

    def _give_way(self, item: Item) -> bool:
        if item.id in self.remove:
            return True
        if item.adopted or not (self.rewrite or self.is_ours(item.row)):
            return False
        self.remove[item.id] = item.row
        return True


def plan(
    found: Sequence[Item],
    settled: Iterable[Numbered],
    *,
    is_ours: Callable[[SinkRow], bool],
    rewrite: bool,
) -> Plan:
    """Compares what ec2-api holds with what it should hold.

    An image has one row at most, whatever its number: one of ours gives
    way, another is divergence, and nothing is written. Nor is it while the
    kind is unknown: a wrong prefix makes calls of the image's owner fail. A
    row that was adopted stays as it is, always.
    """
    under: dict[int, list[Item]] = defaultdict(list)
    for item in found:
        under[item.row.number].append(item)
    by_image = {item.image: item for item in found if item.image}
    planning = _Planning({item.id: item for item in found}, is_ours, rewrite)
    for wanted in settled:
        image = wanted.uuid.lower() if wanted.uuid else None
        planning.empty(i for i in under[wanted.number] if i.image != image)
        if image and wanted.uuid and wanted.kind:
            row = SinkRow(
                number=wanted.number, uuid=wanted.uuid, kind=wanted.kind
            )
            planning.fill(wanted, row, by_image.get(image))
    return Plan(
        remove=tuple(planning.remove.values()),
        add=tuple(planning.add),
        taken=tuple(planning.taken),
    )


class Ec2ApiSession:
    """One transaction in ec2-api's database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def plan(
        self, settled: Sequence[Numbered], *, judge: Judge, rewrite: bool
    ) -> Plan:
        """Finds what stands under the numbers, and what the images have."""
        found = self._find(settled)
        is_ours = judge(item.row for item in found)
        return plan(found, settled, is_ours=is_ours, rewrite=rewrite)

    def apply(self, steps: Plan) -> None:
        """Empties, fill and commit.

        What ec2-api has adopted meanwhile stays; the row that should take
        its place then fails, and all is looked at again.
        """
        for row in steps.remove:
            self._connection.execute(
                sa.delete(items).where(
                    items.c.id == format_id(row.number, row.kind),
                    items.c.os_id == row.uuid,
                    _bare,
                )
            )
        insert(
            self._connection,
            [items.c.id, items.c.os_id],
            ((format_id(row.number, row.kind), row.uuid) for row in steps.add),
        )
        self._connection.commit()

    def put(self, rows: Sequence[SinkRow]) -> int:  # noqa: ARG002
        """Writes none: an image may have one under any other id."""
        return 0

    def _find(self, settled: Sequence[Numbered]) -> list[Item]:
        ids = [format_id(n.number, kind) for n in settled for kind in Kind]
        uuids = {n.uuid for n in settled if n.uuid}
        uuids |= {uuid.lower() for uuid in uuids}
        found = self._select(items.c.id, ids)
        found |= self._select(items.c.os_id, sorted(uuids))
        return list(found.values())

    def _select(
        self, column: sa.Column[str], values: Sequence[str]
    ) -> dict[str, Item]:
        statement = sa.select(items.c.id, items.c.os_id, _bare.label("bare"))
        return {
            row.id: item_of(row.id, row.os_id, adopted=not row.bare)
            for row in select_in(self._connection, statement, column, values)
        }


class Ec2ApiSink:
    """ec2-api's database."""

    name = EC2API
    needs_kind = True  # the prefix shows it
    ranges: Ranges | None = None  # ec2-api draws ids also from our band
    suspect = False
    # It draws at random from 32 bits; these are not Nova's to hand out.
    adoptable_below = DERIVED.stop

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**WRITE)

    def reserve(self) -> None:
        """Does nothing: ec2-api draws its ids at random."""

    def scan(self, after: int, limit: int) -> list[SinkRow]:
        """Reads rows of images by number; of the last one, all that it has.

        Ids have one width, so that they sort as their numbers do.
        """
        with self._engine.connect() as connection:
            rows = [
                row
                for kind in Kind
                for row in self._of_kind(connection, kind, after, limit)
            ]
        rows.sort(key=attrgetter("number"))  # and of one, by their kinds
        if len(rows) <= limit:
            return rows
        last = rows[limit - 1].number
        return [row for row in rows if row.number <= last]

    def rows(self, numbers: Iterable[int]) -> list[SinkRow]:
        """Reads rows by primary key, of whatever kinds."""
        ids = [format_id(number, kind) for number in numbers for kind in Kind]
        with self._engine.connect() as connection:
            rows = select_in(connection, _ITEMS, items.c.id, ids)
            found = [item_of(i, uuid, adopted=False).row for i, uuid in rows]
        # MariaDB finds ids of another form too, as in upper case.
        return [row for row in found if row.number]

    def numbers_of(self, uuid: str) -> list[int]:
        """Finds the row of an image: os_id is unique."""
        statement = _ITEMS.where(items.c.os_id.in_([uuid, uuid.lower()]))
        with self._engine.connect() as connection:
            found = [
                item_of(i, u, adopted=False)
                for i, u in connection.execute(statement)
            ]
        return [item.row.number for item in found]

    def given(self, uuids: Iterable[str]) -> dict[str, int]:
        """Returns the numbers of the ids that images have, by image."""
        asked = {one for uuid in uuids for one in (uuid, uuid.lower())}
        with self._engine.connect() as connection:
            rows = select_in(connection, _ITEMS, items.c.os_id, sorted(asked))
            found = [item_of(i, uuid, adopted=False) for i, uuid in rows]
        return {item.image: item.row.number for item in found}

    def seen(self, numbers: Iterable[int]) -> dict[str, int]:
        """Returns which of these an image has: one at most."""
        return {row.uuid: row.number for row in self.rows(numbers)}

    def _of_kind(
        self, connection: Connection, kind: Kind, after: int, limit: int
    ) -> Iterator[SinkRow]:
        """Reads the first rows of a kind; ids of another form are no end."""
        key: sa.ColumnElement[str] = items.c.id
        if self._engine.dialect.name == "postgresql":
            key = sa.collate(items.c.id, "C")
        last, found, more = format_id(after, kind), 0, True
        while more and found < limit:
            page = connection.execute(
                _ITEMS.where(key > last, key < f"{kind}-g")
                .order_by(key)
                .limit(limit)
            ).all()
            for last, uuid in page:
                row = item_of(last, uuid, adopted=False).row
                if row.number:
                    found += 1
                    yield row
            more = len(page) == limit

    def close(self) -> None:
        """Drops all connections."""
        self._engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Ec2ApiSession]:
        """Begins a transaction that no other writer of ours can be in."""
        with self._writing.connect() as connection:
            lock.take(connection, self.name, _STAKE)
            yield Ec2ApiSession(connection)
