"""Whose share it is that a batch costs more beside many rows than beside few.

Each statement of a batch by itself, in tables like the ledger's and like a
cell's, which the server fills by itself: the CPU that it takes for it, beside
few rows and beside many, in turns.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from figures import Line
from filling import SCHEME, engine_of, now
from fleet import S3_IMAGES
from stand import Size, Stand, in_turns

from ec2map_sync.ledger import schema, tables
from ec2map_sync.rules.ec2id import DERIVED
from ec2map_sync.sinks.nova import s3_images
from ec2map_sync.sql.images import text_of
from ec2map_sync.sql.statements import among, inserts

FEW = 1000
BATCH = 500
ROUNDS = 3
"""Batches for each of a run's rounds."""

POOLS = {"128M": 2**27, "1G": 2**30}
"""Room for pages: what MariaDB has by itself, and enough for all."""

INDEXED = "s3_images_indexed"
"""Like a cell's table, with an index on uuid."""

# Odd, so that no two are the same in a power of two; about as far from each
# other as they can be, in no order.
_NUMBER = "(seq * 663608941) % 1073741824"
_IMAGE = "UNHEX(MD5(seq))"


class _Tables:
    """The tables of a ledger and of a cell, with so many rows."""

    def __init__(self, stand: Stand, name: str, count: int) -> None:
        url = stand.mariadb.create_database(name)
        self._engine = engine_of(url)
        schema.upgrade(self._engine)
        self._pid = stand.mariadb.pid or 0
        for table in ("s3_images", INDEXED):
            create = S3_IMAGES.replace("s3_images", f"{name}.{table}")
            stand.mariadb.execute(create)
        stand.mariadb.execute(
            f"ALTER TABLE {name}.{INDEXED} ADD INDEX by_uuid (uuid)"
        )
        for statement in _filling(name, count):
            stand.mariadb.execute(statement)
        self.spent: dict[str, list[float]] = defaultdict(list)

    def batch(self) -> None:
        """Write a batch, statement by statement; milliseconds of CPU each."""
        images = sorted(str(uuid.uuid4()) for _ in range(BATCH))
        numbers = sorted({SCHEME.derive(image) for image in images})
        with self._engine.connect() as connection:
            taken = set()
            for table, key in (
                (tables.numbers, tables.numbers.c.number),
                (s3_images, s3_images.c.id),
            ):
                found = connection.execute(
                    sa.select(key)
                    .select_from(table)
                    .where(among(key, numbers))
                )
                taken |= {row[0] for row in found}
            connection.rollback()
            pairs = [
                (number, image)
                for image in images
                if (number := SCHEME.derive(image)) not in taken
            ]
            for name, statement in self._statements(connection, pairs):
                before = self._cpu()
                connection.exec_driver_sql(statement).close()
                self.spent[name].append((self._cpu() - before) / 1e6)

    def _statements(
        self, connection: sa.Connection, pairs: list[tuple[int, str]]
    ) -> Iterator[tuple[str, str]]:
        """Write what recording a batch, and a cell's Writer, send."""
        c, n, s = tables.claims.c, tables.numbers.c, s3_images.c
        at = now()
        images = [image for _, image in pairs]
        numbers = sorted(number for number, _ in pairs)

        def asked(
            table: sa.Table, key: sa.Column[Any], keys: Sequence[object]
        ) -> str:
            statement = sa.select(table).where(among(key, keys))
            return str(
                statement.compile(
                    dialect=connection.dialect,
                    compile_kwargs={"literal_binds": True},
                )
            )

        def put(
            columns: Sequence[sa.Column[Any]],
            rows: Sequence[tuple[object, ...]],
        ) -> str:
            return next(inserts(connection.dialect, columns, rows))

        yield "claims, look", asked(tables.claims, c.image, images)
        yield "numbers, look", asked(tables.numbers, n.number, numbers)
        claims = [
            (i, at + k, None, at + k, 1, 1, number, None, "ami", "", "-")
            for k, (number, i) in enumerate(pairs)
        ]
        yield "claims", put(list(c), claims)
        own = tables.own_claims.c
        yield "own claims", put(list(own), [(at, i) for i in images])
        seats = [(n_, False, at, at, i) for n_, i in sorted(pairs)]
        yield "numbers", put(list(n), seats)
        yield "commit of the ledger", "COMMIT"
        rows = [(n_, i, None, 0) for n_, i in sorted(pairs)]
        # As `insert_free` has it: what stands there is not looked at before.
        cell = put(list(s), rows).replace("INSERT", "INSERT IGNORE", 1)
        yield "rows of the cell", cell
        yield "commit of the cell", "COMMIT"
        yield "cell with an index on uuid", cell.replace("s3_images", INDEXED)
        yield "commit of that", "COMMIT"

    def _cpu(self) -> int:
        """Give the nanoseconds that the server has worked."""
        tasks = Path(f"/proc/{self._pid}/task")
        return sum(
            int((task / "schedstat").read_text().split()[0])
            for task in tasks.iterdir()
        )


def _filling(name: str, count: int) -> Iterator[str]:
    """Write statements by which the server fills the tables, in no order."""
    rows = f"FROM {name}.seq_1_to_{count} WHERE {_NUMBER} >= {DERIVED.first}"
    year = 365 * 24 * 3600 * 1_000_000
    at = f"{now() - year} + seq * {year // count}"
    text = str(text_of(sa.literal_column(_IMAGE)).compile(dialect=_dialect()))
    yield (
        f"INSERT INTO {name}.claims SELECT {_IMAGE}, {at}, NULL, {at}, 1, seq,"
        f" {_NUMBER}, NULL, 'ami', '', {text} {rows}"
    )
    yield f"INSERT INTO {name}.own_claims SELECT seq, {_IMAGE} {rows}"
    yield (
        f"INSERT INTO {name}.numbers SELECT {_NUMBER}, 0, {at}, seq, {_IMAGE}"
        f" {rows}"
    )
    for table in ("s3_images", INDEXED):
        yield (
            f"INSERT INTO {name}.{table} (id, uuid, deleted)"
            f" SELECT {_NUMBER}, {text}, 0 {rows}"
        )


def _dialect() -> sa.Dialect:
    return sa.make_url("mysql+pymysql://").get_dialect()()


def measure(stand: Stand, size: Size) -> list[Line]:
    """Write batches beside few rows and beside many, with each pool."""
    many = _Tables(stand, "shares_many", size.images)
    stand.say(f"tables of {size.images:,} rows filled")
    lines = []
    for pool, room in POOLS.items():
        stand.mariadb.execute(f"SET GLOBAL innodb_buffer_pool_size = {room}")
        time.sleep(2)  # it is resized behind our back
        # New ones for each, since they grow meanwhile.
        few = _Tables(stand, f"shares_few_{pool}", FEW)
        both = {"few": few, "many": many}
        for each in both.values():
            each.batch()
            each.spent.clear()
        for turn in range(size.rounds * ROUNDS):
            for name in in_turns(both, turn):
                both[name].batch()
        stand.say(f"shares measured with a pool of {pool}")
        lines += _lines(pool, few.spent, many.spent, size)
        many.spent.clear()
    return lines


def _lines(
    pool: str,
    few: dict[str, list[float]],
    many: dict[str, list[float]],
    size: Size,
) -> list[Line]:
    def line(key: str, what: str, names: list[str]) -> Line:
        def added(spent: dict[str, list[float]]) -> list[float]:
            return [
                sum(each)
                for each in zip(*(spent[n] for n in names), strict=True)
            ]

        return Line(
            key=f"share {key} {pool}",
            what=f"server's CPU, {what}, beside {size.images:,} rows, {pool}",
            unit="ms",
            ours=added(many),
            beside={f"beside {FEW:,}": added(few)},
        )

    extra = {"cell with an index on uuid", "commit of that"}
    cell = [n for n in many if n.endswith("cell")]
    ledger = [n for n in many if n not in {*cell, *extra}]
    return [
        line("ledger", "the ledger's share of a batch", ledger),
        line("cell", "the cell's share of a batch", cell),
        *(line(name, name, [name]) for name in many),
    ]
