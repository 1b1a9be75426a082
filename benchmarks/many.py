"""Try a ledger of very many images, which the server fills by itself.

    python benchmarks/many.py [--rows N] [--directory DIRECTORY]
        [--pool SIZE]... [--whole] [--ways ROWS] [-f json] [--output FILE]

A MariaDB of its own. Claims and numbers are those of a consistent ledger, but
for their hashes: a server has no BLAKE2b, so that only those of the first
claims are true, which a take-over reads. The total is that of what stands
there. A directory that is named is kept, and what it holds is not filled
again.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import gcd
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "support")]

# ruff: noqa: E402
import pymysql
import sqlalchemy as sa
from figures import number
from filling import SCHEME, YEAR, claims, engine_of, now
from servers import MariaDB

from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.ledger.known import claim_of_row
from ec2map_sync.rules.claims import EVERYTHING, SUM_MODULUS, Bound, Span
from ec2map_sync.rules.ec2id import DERIVED
from ec2map_sync.rules.sketches import Shape
from ec2map_sync.sql import database

MANY, FEW = "many", "few"
PIECE = 4_000_000
"""Rows of one statement, and of one transaction."""
PAGE = 5000
"""Claims of the first page of a take-over."""
TRUE = 2 * PAGE
"""First claims, whose hashes are true."""
AT_ONCE = 500
"""Claims of one batch, and of one revision."""
BESIDE = 1000
TAIL = 3_000_000
"""Microseconds: as far as heartbeats stay behind."""
PATIENCE = 3600
"""Seconds for an answer. The agent gives up after 60, and what takes longer
is to be measured all the same."""
DAY = 24 * 3600 * 1_000_000

_HASH = "(seq * 663608941 + 12345) % 1099511627776"
_IMAGE = "UNHEX(MD5({n}))"
_UNIQUE = "ALTER TABLE claims ADD UNIQUE INDEX claims_by_image (image)"
_PLAIN = "ALTER TABLE claims ADD INDEX claims_by_image (image)"
_CHANGE = "ALTER TABLE numbers ADD INDEX numbers_by_change (revision)"
"""What is quicker to make when the rows are there."""
PARTS = 16
"""Partitions, where a table has some."""
_SIZES = (
    "SELECT table_name, index_name, stat_value * @@innodb_page_size"
    " FROM mysql.innodb_index_stats"
    " WHERE stat_name = 'size' AND database_name = '{name}'"
    " AND table_name IN ('claims', 'numbers')"
)
FILLING = (
    "--innodb-buffer-pool-size=4G",
    "--innodb-log-file-size=2G",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-flush-method=O_DIRECT",
)
MEASURING = ("--innodb-log-file-size=1G", "--innodb-flush-method=O_DIRECT")
"""As durable as by default. Pages come from the disk, and from no cache of
the kernel's."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What stands in the row of a claim, and in that of a number.

    The n-th claim has the k-th number, where k = n * ``there`` and
    n = k * ``back``, both modulo ``count``: no order, and no two the same.
    """

    count: int
    begin: int
    """Microseconds: the stamp of the first claim."""

    @property
    def step(self) -> int:
        """Microseconds from one claim to the next."""
        return max(1, YEAR // self.count)

    @property
    def gap(self) -> int:
        """From one number to the next: they fill the band."""
        return DERIVED.size // self.count

    @property
    def there(self) -> int:
        """What no two claims have the same multiple of."""
        start = int(self.count * 0.618) | 1
        return next(
            k for k in range(start, 2 * start + 2) if gcd(k, self.count) == 1
        )

    @property
    def back(self) -> int:
        """What undoes that."""
        return pow(self.there, -1, self.count)

    def claims(self, first: int, last: int) -> str:
        """Write a statement that makes some claims, in order."""
        at = f"{self.begin} + seq * {self.step}"
        wish = (
            f"{DERIVED.first} + seq * {self.there} % {self.count} * {self.gap}"
        )
        return (
            f"INSERT INTO claims SELECT {_IMAGE.format(n='seq')}, {at}, NULL,"
            f" {at}, {_HASH}, NULL, {wish}, NULL, 'ami', '', ''"
            f" FROM seq_{first}_to_{last}"
        )

    def numbers(self, first: int, last: int) -> str:
        """Write a statement that makes some numbers, in order."""
        n = f"seq * {self.back} % {self.count}"
        return (
            f"INSERT INTO numbers SELECT {DERIVED.first} + seq * {self.gap},"
            f" 0, {self.begin} + {n} * {self.step},"
            f" ({n}) DIV {AT_ONCE} + 1, {_IMAGE.format(n=n)}"
            f" FROM seq_{first}_to_{last}"
        )


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to have the tables; ``before`` is done while they are empty."""

    before: Callable[[Rows], Iterable[str]] = lambda _: ()
    index: str = _UNIQUE


def _by_range(table: str, key: str, first: int, step: int) -> str:
    bounds = ", ".join(
        f"PARTITION p{n} VALUES LESS THAN ({first + n * step})"
        for n in range(1, PARTS)
    )
    return (
        f"ALTER TABLE {table} PARTITION BY RANGE ({key}) ({bounds},"
        " PARTITION rest VALUES LESS THAN MAXVALUE)"
    )


def _numbers_by_range(_: Rows) -> Iterator[str]:
    yield _by_range("numbers", "number", DERIVED.first, DERIVED.size // PARTS)


def _claims_by_range(rows: Rows) -> Iterator[str]:
    # The last one is for what comes.
    step = rows.step * rows.count // (PARTS - 1) + 1
    yield _by_range("claims", "claimed_at", rows.begin, step)


def _claims_by_stamps_only(rows: Rows) -> Iterator[str]:
    yield "DROP INDEX claims_by_image ON claims"
    yield from _claims_by_range(rows)


def _claims_by_image(_: Rows) -> Iterator[str]:
    yield f"ALTER TABLE claims PARTITION BY KEY (image) PARTITIONS {PARTS}"


AS_IT_IS = Way()
WAYS = {
    "as it is": AS_IT_IS,
    "numbers by range of number": Way(before=_numbers_by_range),
    "claims by range of claimed_at": Way(before=_claims_by_range),
    "the same, no index on image unique": Way(
        before=_claims_by_stamps_only, index=_PLAIN
    ),
    "claims by key of image": Way(before=_claims_by_image),
}


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def fill(
    server: MariaDB, name: str, count: int, way: Way = AS_IT_IS
) -> dict[str, float]:
    """Make a ledger with so many images; seconds of each step.

    :raises pymysql.Error: the server does not have tables in such a way.
    """
    engine = engine_of(server.create_database(name))
    schema.upgrade(engine)
    rows = Rows(count=count, begin=now() - YEAR - DAY)
    run = partial(_run, server, name)
    took: dict[str, float] = {}
    for statement in way.before(rows):
        run(statement)
    run("DROP INDEX IF EXISTS claims_by_image ON claims")
    run("DROP INDEX numbers_by_change ON numbers")
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as both:
        parts = {"claims": rows.claims, "numbers": rows.numbers}
        done = {
            table: both.submit(_pieces, run, table, write, count)
            for table, write in parts.items()
        }
        took |= {table: each.result() for table, each in done.items()}
    took["both"] = time.monotonic() - begun
    for statement in (way.index, _CHANGE):
        begun = time.monotonic()
        run(statement)
        index = statement.split()[-2]
        took[index] = time.monotonic() - begun
        say(f"{index} in {took[index]:.0f} s")
    begun = time.monotonic()
    _true_hashes(engine)
    _fit_head(engine, rows)
    for table in ("claims", "numbers"):
        run(f"ANALYZE TABLE {table}")
    took["head"] = time.monotonic() - begun
    engine.dispose()
    return took


def _run(server: MariaDB, name: str, statement: str) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE {name}")
        cursor.execute(statement)


def _pieces(
    run: Callable[[str], None],
    table: str,
    write: Callable[[int, int], str],
    count: int,
) -> float:
    begun = time.monotonic()
    for first in range(0, count, PIECE):
        last = min(first + PIECE, count) - 1
        run(write(first, last))
        say(f"{table}: {last + 1:,} in {time.monotonic() - begun:.0f} s")
    return time.monotonic() - begun


def _true_hashes(engine: sa.Engine) -> None:
    """Give the first claims the hashes that they have."""
    c = tables.claims.c
    first = sa.select(*c).order_by(c.claimed_at, c.image).limit(TRUE)
    change = (
        sa.update(tables.claims)
        .where(c.claimed_at == sa.bindparam("at"))
        .values(hash=sa.bindparam("true"))
    )
    with engine.begin() as connection:
        found = [claim_of_row(row) for row in connection.execute(first)]
        connection.execute(
            change, [{"at": e.claimed_at, "true": e.hash} for e in found]
        )


def _fit_head(engine: sa.Engine, rows: Rows) -> None:
    """Let the head tell of what stands there."""
    c = tables.claims.c
    with engine.begin() as connection:
        count, total, last = connection.execute(
            sa.select(
                sa.func.count(), sa.func.sum(c.hash), sa.func.max(c.claimed_at)
            )
        ).one()
        connection.execute(
            sa.update(tables.head).values(
                total_count=count,
                total_sum=int(total) % SUM_MODULUS,
                last_stamp=last,
                revision=rows.count // AT_ONCE + 1,
            )
        )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one question has cost."""

    ms: float
    cpu_ms: float
    """Of the server."""
    pages: int
    """That the server has read from its files."""


class Meter:
    """What is asked of a ledger, and what that costs."""

    def __init__(self, server: MariaDB, name: str) -> None:
        url = database.parse_url(server.url(name), "benchmark")
        engine = database.create_engine(url, patience=PATIENCE)
        self.ledger = Ledger(engine, SCHEME)
        self.asked: dict[str, list[Cost]] = {}
        self.collisions: list[int] = []
        self._server = server

    def ask(self, what: str, work: Callable[[], object], times: int) -> None:
        """Do something some times; the first may read from the disk."""
        for _ in range(times):
            pages, worked = self._pages(), self._cpu()
            begun = time.monotonic()
            work()
            cost = Cost(
                ms=(time.monotonic() - begun) * 1000,
                cpu_ms=(self._cpu() - worked) / 1e6,
                pages=self._pages() - pages,
            )
            self.asked.setdefault(what, []).append(cost)

    def batch(self) -> None:
        """Record new images; count those that came to a taken number."""
        some = list(claims(AT_ONCE, now() - TAIL, now()))
        self.ask("batch", lambda: self.ledger.record(some), 1)
        numbers = self.ledger.numbers_of(claim.image for claim in some)
        self.collisions.append(
            sum(SCHEME.derive(image) != n for image, n in numbers.items())
        )

    def _pages(self) -> int:
        """Count the pages that the server has read from its files."""
        status = "SHOW GLOBAL STATUS LIKE 'Innodb_pages_read'"
        return int(str(self._server.execute(status)[0][1]))

    def _cpu(self) -> int:
        """Give the nanoseconds that the server has worked."""
        tasks = Path(f"/proc/{self._server.pid}/task")
        return sum(
            int((task / "schedstat").read_text().split()[0])
            for task in tasks.iterdir()
        )

    def written(self) -> dict[str, dict[str, Any]]:
        """Give the figures of all that was asked."""
        return {
            what: {
                "first ms": costs[0].ms,
                "median ms": median(cost.ms for cost in costs),
                "least ms": min(cost.ms for cost in costs),
                "server's cpu ms": median(cost.cpu_ms for cost in costs),
                "pages read": median(cost.pages for cost in costs),
                "times": len(costs),
            }
            for what, costs in self.asked.items()
        }


def in_turns(meters: Iterable[Meter], rounds: int) -> None:
    """Record batches in one ledger and the next, after a first of each."""
    some = list(meters)
    for turn in range(rounds + 1):
        for meter in some if turn % 2 else reversed(some):
            meter.batch()
            if not turn:
                meter.asked["first batch"] = meter.asked.pop("batch")
                meter.collisions.clear()


def look(meter: Meter, rounds: int) -> None:
    """Ask what does not go through all claims."""
    ledger = meter.ledger
    queries, copies = ledger.queries, ledger.copies
    end = ledger.head().revision
    for what, work in {
        "head": ledger.head,
        "heartbeat's print": lambda: ledger.print_before(now() - TAIL),
        "print of everything": lambda: ledger.prints_of([EVERYTHING]),
        "first page of a take-over": lambda: ledger.page(EVERYTHING, PAGE),
        "status: a sink that is up to date": lambda: queries.numbers_after(
            end
        ),
        "status: the publisher": lambda: queries.own_claims_after(0),
        "status: the rest": lambda: (
            queries.cursors(),
            queries.move_count(),
            copies.state(),
            ledger.quarantine.count(),
            ledger.divergences.counts(),
            ledger.journal.peer_states(),
        ),
    }.items():
        meter.ask(what, work, rounds)


def go_through(meter: Meter) -> None:
    """Ask what goes through all claims, once each."""
    ledger = meter.ledger
    start = ledger.page(EVERYTHING, 2)[-1].bound
    nearly = Span(start, Bound(now() + DAY))
    shape = Shape.draw(1000)
    for what, work in {
        "print of nearly everything": lambda: ledger.print_of(nearly),
        "split of everything": lambda: ledger.split(EVERYTHING),
        "sketch of everything": lambda: ledger.sketch_of([EVERYTHING], shape),
        "totals counted": lambda: _require(ledger.copies.look_at_totals()),
        "status: a sink at the beginning": lambda: (
            ledger.queries.numbers_after(0)
        ),
    }.items():
        meter.ask(what, work, 1)
        say(f"{what}: {meter.asked[what][0].ms / 1000:.1f} s")


def _require(right: bool) -> None:
    if not right:
        raise ValueError("the head is not as the rows are")


def sizes(server: MariaDB, name: str, count: int) -> dict[str, float]:
    """Give the bytes for each image, by tree."""
    trees = {
        f"{table} {index}": int(str(size)) / count
        for table, index, size in server.execute(_SIZES.format(name=name))
    }
    return trees | {"all": sum(trees.values())}


def measure(server: MariaDB, rounds: int, whole: bool) -> dict[str, Any]:
    """Measure beside many images, and batches beside few as well."""
    many, few = Meter(server, MANY), Meter(server, FEW)
    look(many, rounds)
    in_turns((many, few), rounds)
    say("batches recorded")
    if whole:
        go_through(many)
    return {
        "many": many.written(),
        "few": few.written(),
        "collisions": median(many.collisions),
    }


def ways(server: MariaDB, count: int, rounds: int) -> dict[str, Any]:
    """Try other ways to have the tables, with fewer rows."""
    found: dict[str, Any] = {}
    meters = {}
    for place, (what, way) in enumerate(WAYS.items()):
        name = f"way_{place}"
        server.execute(f"DROP DATABASE IF EXISTS {name}")
        try:
            fill(server, name, count, way)
        except pymysql.Error as error:
            found[what] = {"refused": str(error)}
        else:
            meters[what] = Meter(server, name)
    in_turns(meters.values(), rounds)
    for what, meter in meters.items():
        look(meter, rounds)
        go_through(meter)
        found[what] = meter.written()
    return found


def main() -> None:
    """Fill a ledger, and measure what is asked of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--directory", type=Path, help="is kept")
    parser.add_argument("--pool", action="append", help="default 1G")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--whole",
        action="store_true",
        help="also ask what goes through all claims, with each pool",
    )
    parser.add_argument(
        "--ways", type=int, metavar="ROWS", help="try partitions with so many"
    )
    parser.add_argument("-f", "--format", choices=("text", "json"))
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = options.directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory())
        )
        found = _measured(directory, options)
    text = json.dumps(found, indent=1) + "\n"
    if options.output:
        options.output.write_text(text)
    print(text if options.format == "json" else _told(found), end="")


def _measured(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    directory.mkdir(parents=True, exist_ok=True)
    filled = directory / "filled.json"
    if not filled.exists():
        with MariaDB(directory, *FILLING) as server:
            took = fill(server, MANY, options.rows)
            fill(server, FEW, BESIDE)
            trees = sizes(server, MANY, options.rows)
        filled.write_text(json.dumps({"seconds": took, "bytes": trees}))
    found = {"rows": options.rows, **json.loads(filled.read_text())}
    for pool in options.pool or ["1G"]:
        with _server(directory, pool) as server:
            say(f"pool of {pool}")
            found[pool] = measure(server, options.rounds, options.whole)
    if options.ways:
        with _server(directory, "128M") as server:
            found["ways"] = ways(server, options.ways, options.rounds)
    return found


def _server(directory: Path, pool: str) -> MariaDB:
    return MariaDB(directory, f"--innodb-buffer-pool-size={pool}", *MEASURING)


def _told(found: dict[str, Any], before: str = "") -> str:
    """Write figures as lines: one for each thing that was asked."""
    lines = []
    for what, value in found.items():
        name = f"{before}{what}"
        if isinstance(value, dict) and "times" not in value:
            lines.append(_told(value, f"{name}, "))
            continue
        told = value if isinstance(value, dict) else {"": value}
        figures = (
            f"{v if isinstance(v, str) else number(v)} {k}"
            for k, v in told.items()
        )
        lines.append(f"{name}: {', '.join(figures).strip()}\n")
    return "".join(lines)


if __name__ == "__main__":
    main()
