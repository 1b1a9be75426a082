"""Checks of databases: the ledger, what it knows of peers, the cells."""

from collections.abc import Mapping
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError

from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.monitor.views import seconds_since
from ec2map_sync.operate.checks.finding import (
    Check,
    Finding,
    ok,
    unknown,
    wrong,
)
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.ec2id import DERIVED, Scheme
from ec2map_sync.rules.errors import NoHead
from ec2map_sync.rules.names import source_of
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.values import Cell, NovaApi
from ec2map_sync.sinks import instances
from ec2map_sync.sinks.cells import discover
from ec2map_sync.sinks.ec2api import items
from ec2map_sync.sinks.nova import next_id, s3_images
from ec2map_sync.sql import database

SILENT = 60
"""Seconds without a heartbeat after which we say so."""

LOOKUP = 0.27e-6
"""Seconds for each row that Nova looks through where uuid has no index."""


def of_region(config: Config, *, guests: bool = False) -> Mapping[str, Check]:
    """Returns the checks of the ledger and of the cells.

    ``guests`` asks also for what only `verify --guests` needs there.
    """
    engine = database.create_engine(config.ledger)
    scheme = config.scheme
    found: dict[str, Check] = {"ledger": partial(_ledger, engine, scheme)}
    for peer in config.bus.peers:
        found[f"heartbeats of {peer.name}"] = partial(
            _heartbeats, engine, scheme, peer.name
        )
    for cell in config.cells:
        found[f"cell {cell.name}"] = partial(_cell, cell, guests)
    if config.nova_api:
        found["Nova's cells"] = partial(_cells, config.nova_api, guests)
    if config.ec2api:
        found["ec2-api"] = partial(_ec2api, config.ec2api)
    return found


def _ledger(engine: Engine, scheme: Scheme) -> Finding:
    schema.require(engine)
    head = tables.head
    with engine.connect() as connection:
        filled = connection.scalar(sa.select(head.c.scheme))
        count = connection.scalar(sa.select(head.c.total_count))
    if filled is None:
        return wrong("its head row is gone", str(NoHead()))
    if filled not in {"", scheme.fingerprint}:
        return wrong(
            f"it was filled under scheme {filled}, ours is "
            f"{scheme.fingerprint}",
            "put [ec2_ids] hash_key back, or start with an empty ledger",
        )
    denied = _denied(engine, tables.claims)
    if denied:
        return wrong(f"no right to {', '.join(denied)}", _grant(engine, "*"))
    return ok(f"schema {schema.newest()}, {count} images")


def _heartbeats(engine: Engine, scheme: Scheme, peer: str) -> Finding:
    ledger = Ledger(engine, scheme)
    state = ledger.journal.peer_states().get(peer)
    heard: Stamp = (state and state.received_at) or 0
    q = tables.quarantine
    newest = (
        sa.select(q.c.at, q.c.reason)
        .where(q.c.source == source_of(peer))
        .order_by(q.c.id.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        refused = connection.execute(newest).one_or_none()
    if refused and refused.at > heard:
        return wrong(refused.reason, "ec2map-sync quarantine list")
    if not heard:
        return unknown("none yet", f"let the agents here and in {peer} run")
    age = seconds_since(heard, wall_clock())
    if age is None or age > SILENT:
        when = "in the future" if age is None else f"{age:.0f} s ago"
        return unknown(f"the last one came {when}", "ec2map-sync status")
    return ok("key and scheme fit")


def _cell(cell: Cell, guests: bool = False) -> Finding:
    engine = database.create_engine(cell.url)
    found = _amiss(engine)
    if found is None and guests:
        found = _unreadable(engine)
    return found or _size(engine)


def _unreadable(engine: Engine) -> Finding | None:
    """Looks whether instances can be read."""
    try:
        instances.require(engine)
    except DBAPIError as error:
        if not instances.is_denied(error):
            raise
        return wrong(
            "instances may not be read, as verify --guests does",
            instances.grant(engine),
        )
    return None


def _amiss(engine: Engine) -> Finding | None:
    """Looks for what keeps a cell from being written."""
    if not sa.inspect(engine).has_table(s3_images.name):
        return wrong(
            f"there is no table {s3_images.name}",
            "name the database of the cell, not that of the API, and run "
            "'nova-manage db sync'",
        )
    denied = _denied(engine, s3_images)
    if denied:
        return wrong(
            f"no right to {', '.join(denied)}", _grant(engine, "s3_images")
        )
    if not _may_push_sequence(engine):
        return wrong(
            "no right to push the sequence of s3_images",
            "GRANT SELECT, UPDATE ON SEQUENCE s3_images_id_seq TO "
            f"{engine.url.username}",
        )
    counted = _nova_counts_from(engine)
    if counted in DERIVED:
        return wrong(
            f"Nova's next id is {counted}, in our band, as after a failover",
            "start the agent, which puts that right before it writes a row",
        )
    return None


def _size(engine: Engine) -> Finding:
    """Returns what Nova's look-ups cost."""
    rows = _estimate(engine)
    indexed = any(
        index["column_names"][:1] == ["uuid"]
        for index in sa.inspect(engine).get_indexes(s3_images.name)
    )
    if indexed:
        return ok(f"about {rows} rows, index on uuid")
    return ok(
        f"about {rows} rows, no index on uuid",
        f"Nova takes some {rows * LOOKUP * 1000:.0f} ms to find an image; to "
        "make it faster: CREATE INDEX s3_images_uuid_idx ON s3_images "
        "(uuid);",
    )


def _cells(api: NovaApi, guests: bool = False) -> Finding:
    cells, unusable = discover(database.create_engine(api.url), api.template)
    if unusable:
        return wrong("; ".join(unusable))
    if not cells:
        return wrong("no cell is listed", "nova-manage cell_v2 list_cells")
    found = {cell.name: _cell(cell, guests) for cell in cells}
    for name, finding in found.items():
        if not finding.good:
            return wrong(f"cell {name}: {finding.found}", finding.advice)
    advice = next((f.advice for f in found.values() if f.advice), "")
    return ok(
        "; ".join(f"{name}: {f.found}" for name, f in found.items()), advice
    )


def _ec2api(url: URL) -> Finding:
    engine = database.create_engine(url)
    if not sa.inspect(engine).has_table(items.name):
        return wrong(
            f"there is no table {items.name}", "run 'ec2-api-manage db_sync'"
        )
    denied = _denied(engine, items)
    if denied:
        return wrong(
            f"no right to {', '.join(denied)}", _grant(engine, items.name)
        )
    return ok()


def _denied(engine: Engine, table: sa.Table) -> list[str]:
    """Returns which rights are missing, by statements that change no row."""
    never = sa.false()
    columns = list(table.columns)
    names = [column.name for column in columns]
    source = sa.select(*columns).where(never)
    tries: dict[str, sa.Executable] = {
        "SELECT": source,
        "INSERT": sa.insert(table).from_select(names, source),
        "DELETE": sa.delete(table).where(never),
    }
    return [
        right
        for right, statement in tries.items()
        if _is_refused(engine, statement)
    ]


def _may_push_sequence(engine: Engine) -> bool:
    """Returns whether Nova's counter can be set; only PostgreSQL asks."""
    if engine.dialect.name != "postgresql":
        return True
    sequence = sa.func.pg_get_serial_sequence(s3_images.name, "id")
    with engine.connect() as connection:
        # None if ids come from elsewhere: then there is nothing to push.
        rights = [
            connection.scalar(
                sa.select(sa.func.has_sequence_privilege(sequence, right))
            )
            for right in ("SELECT", "UPDATE")
        ]
    return False not in rights


def _nova_counts_from(engine: Engine) -> int:
    if engine.dialect.name != "mysql":
        return 0  # there, rows of ours do not move it
    with engine.connect() as connection:
        return next_id(connection)


def _is_refused(engine: Engine, statement: sa.Executable) -> bool:
    with engine.connect() as connection:
        try:
            connection.execute(statement)
        except DBAPIError as error:
            if not instances.is_denied(error):
                raise
            return True
        finally:
            connection.rollback()
    return False


def _grant(engine: Engine, table: str) -> str:
    return (
        "GRANT SELECT, INSERT, DELETE ON "
        f"{engine.url.database}.{table} TO {engine.url.username}"
    )


def _estimate(engine: Engine) -> int:
    """Returns about how many rows a cell has, without counting them."""
    statements = {
        "mysql": "SELECT table_rows FROM information_schema.tables WHERE "
        "table_schema = database() AND table_name = 's3_images'",
        "postgresql": "SELECT reltuples FROM pg_class WHERE oid = "
        "'s3_images'::regclass",
        "sqlite": "SELECT count(*) FROM s3_images",
    }
    backend = engine.url.get_backend_name()
    with engine.connect() as connection:
        rows = connection.scalar(sa.text(statements[backend]))
    return max(0, int(rows or 0))
