"""What a ledger takes for each image, in bytes, by table and index."""

import itertools
import uuid
from collections.abc import Callable

import sqlalchemy as sa
from figures import Line
from filling import BATCH, SCHEME, claims, engine_of, now
from servers import MariaDB, PostgreSQL
from stand import Size, Stand

from ec2map_sync.ledger import PUBLISHING, Ledger, schema
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import Kind

MOST = 200_000
"""Images: with fewer, how a server gives out room is more than the rows."""
AT_ONCE = 100
"""Images that Glance tells of in one batch."""
HEARTBEATS = 5_000
"""Images from one heartbeat to the next, with which goes what is published."""

_SIZES = {
    "mysql": (
        "SELECT table_name, index_name, stat_value * @@innodb_page_size "
        "FROM mysql.innodb_index_stats "
        "WHERE stat_name = 'size' AND database_name = database()"
    ),
    "postgresql": (
        "SELECT relname, '', pg_relation_size(oid) FROM pg_class "
        "WHERE relkind IN ('r', 'i') "
        "AND relnamespace = 'public'::regnamespace"
    ),
}
_PARTS = ("claims", "numbers", "own_claims")


def measure(stand: Stand, size: Size) -> list[Line]:
    """Count what peers' claims take, and those that are made here."""
    images = min(size.images, MOST)
    kinds = {"peers": _record, "own": _see}
    found = []
    with PostgreSQL(stand.directory / "postgresql") as postgresql:
        servers: dict[str, MariaDB | PostgreSQL] = {
            "MariaDB": stand.mariadb,
            "PostgreSQL": postgresql,
        }
        for (server, where), (kind, fill) in itertools.product(
            servers.items(), kinds.items()
        ):
            url = where.create_database(f"growth_{kind}")
            trees = _grown(url, images, fill)
            found.append(
                Line(
                    key=f"growth {kind} {server}",
                    what=f"{server}, for each of {images:,} claims, {kind}",
                    unit="bytes",
                    ours=[sum(trees.values())],
                    goal="<= 300",
                    more={"by tree": trees},
                )
            )
    return found


def _grown(
    url: str, images: int, fill: Callable[[sa.Engine, int], None]
) -> dict[str, float]:
    engine = engine_of(url)
    schema.upgrade(engine)
    fill(engine, images)
    _tidy(engine)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(_SIZES[engine.name]).all()
    engine.dispose()
    return {
        f"{table} {index}".strip(): int(taken) / images
        for table, index, taken in rows
        if table.startswith(_PARTS)
    }


def _tidy(engine: sa.Engine) -> None:
    """Let a server count, and do what it does by itself within a minute."""
    tidy = {"mysql": "ANALYZE TABLE", "postgresql": "VACUUM"}[engine.name]
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for table in _PARTS:
            connection.exec_driver_sql(f"{tidy} {table}")


def _record(engine: sa.Engine, images: int) -> None:
    """Let a peer tell of them."""
    ledger = Ledger(engine, SCHEME)
    some = claims(images, now(), now() + images)
    while batch := list(itertools.islice(some, BATCH)):
        ledger.record(batch)


def _see(engine: sa.Engine, images: int) -> None:
    """Let Glance here tell of them, and the peers be told."""
    ledger = Ledger(engine, SCHEME)
    for start in range(0, images, AT_ONCE):
        names = [str(uuid.uuid4()) for _ in range(AT_ONCE)]
        ledger.see([Sighting(image=n, uuid=n, kind=Kind.AMI) for n in names])
        if start % HEARTBEATS == 0:
            with ledger.cursors.reader(PUBLISHING) as reader:
                assert reader is not None
                _, upto = reader.own_claims(2 * HEARTBEATS)
                reader.advance(upto)
            ledger.cursors.drop_published()
            _tidy(engine)
