"""Ledgers and cells with many images, made quickly."""

import time
import uuid
from collections.abc import Iterator
from itertools import islice

import sqlalchemy as sa
from fleet import Region
from sqlalchemy.dialects import mysql
from stand import CELL, Stand

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Claim, SeenKind
from ec2map_sync.rules.ec2id import ON_DEMAND, Kind, Scheme
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql import database
from ec2map_sync.sql.images import text_of

SCHEME = Scheme(b"tests")
"""As the tests' regions are configured."""

YEAR = 365 * 24 * 3600 * 1_000_000
BATCH = 10_000
TABLES = ("head", "claims", "own_claims", "numbers", "passed")


def engine_of(url: str) -> sa.Engine:
    """Make an engine as the agent does."""
    return database.create_engine(database.parse_url(url, "benchmark"))


def ledger_of(region: Region) -> Ledger:
    """Open a region's ledger."""
    return Ledger(engine_of(region.ledger), SCHEME)


def writer_of(region: Region) -> Writer:
    """Make what writes into a region's cell."""
    sink = NovaSink(CELL, engine_of(region.cells[CELL]))
    return Writer(ledger_of(region), sink, rewrite=False)


def write_all(writer: Writer) -> None:
    """Write all that the ledger has."""
    while writer.step():
        pass


def claims(count: int, start: int, stop: int) -> Iterator[Claim]:
    """Make claims at even intervals."""
    for i in range(count):
        at = start + (stop - start) * i // count
        yield Claim(
            claimed_at=at,
            image=str(uuid.uuid4()),
            kind=SeenKind(at, Kind.AMI),
        )


def now() -> int:
    """Give the time as stamps have it."""
    return time.time_ns() // 1000


def fill(stand: Stand, region: Region, count: int) -> None:
    """Put claims of a year into a region's ledger, and into its cell."""
    ledger = ledger_of(region)
    flush = "SET GLOBAL innodb_flush_log_at_trx_commit = "
    stand.mariadb.execute(f"{flush}0")
    year = claims(count, now() - YEAR, now())
    while some := list(islice(year, BATCH)):
        ledger.record(some)
    name = sa.make_url(region.ledger).database
    cell = sa.make_url(region.cells[CELL]).database
    assert cell
    stand.mariadb.execute(
        f"INSERT INTO {cell}.s3_images (id, uuid, deleted)"
        f" SELECT number, {text_of_image()}, 0 FROM {name}.claims"
    )
    _keep_nova_above(stand, cell)
    stand.mariadb.execute(
        f"INSERT INTO {name}.cursors (name, revision)"
        f" SELECT 'nova:{CELL}', revision FROM {name}.head"
    )
    stand.mariadb.execute(f"{flush}1")


def text_of_image() -> str:
    """Write, for MariaDB, the text of the images of a table."""
    return str(text_of(sa.column("image")).compile(dialect=mysql.dialect()))


def _keep_nova_above(stand: Stand, cell: str) -> None:
    """Let Nova count on above our band, as the Writer would."""
    top = ON_DEMAND.first - 1
    stand.mariadb.execute(
        f"INSERT INTO {cell}.s3_images (id, uuid) VALUES ({top}, 'top')"
    )
    stand.mariadb.execute(f"DELETE FROM {cell}.s3_images WHERE id = {top}")


def copy(stand: Stand, source: Region, target: Region) -> None:
    """Make a region's ledger and cell a copy of another's."""
    databases = [
        (source.ledger, target.ledger, (*TABLES, "cursors")),
        (source.cells[CELL], target.cells[CELL], ("s3_images",)),
    ]
    for one, other, tables in databases:
        old, new = (sa.make_url(url).database for url in (one, other))
        for table in tables:
            stand.mariadb.execute(f"DELETE FROM {new}.{table}")
            stand.mariadb.execute(
                f"INSERT INTO {new}.{table} SELECT * FROM {old}.{table}"
            )
    cell = sa.make_url(target.cells[CELL]).database
    assert cell
    _keep_nova_above(stand, cell)
