"""Ledger and cells behind a pooler that gives each transaction a session."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import schemas
import sqlalchemy as sa
from multiplexer import Multiplexer
from servers import PgBouncer

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.peers.publisher import Publisher
from ec2map_sync.protocol.wire import Pen
from ec2map_sync.rules.claims import Claim, Wanted
from ec2map_sync.rules.ec2id import ON_DEMAND, Scheme
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running import counters
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

SCHEME = Scheme(b"test")
ROUNDS = 25
"""Several times as many as a driver waits before it prepares a statement."""


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def claiming(n):
    return Claim(claimed_at=n + 1, image=image(n))


def adopting(n):
    """Claim an image that had a number: that it is ours has to be noted."""
    return Claim(claimed_at=n + 1, image=image(n), wanted=Wanted(n + 1, n))


@pytest.fixture(params=[4, 1])
def pgbouncer(request, postgresql, tmp_path):
    """A pooler with more sessions than we have threads, or with one."""
    directory = tmp_path / "pgbouncer"
    with PgBouncer(directory, postgresql, request.param) as pooler:
        yield pooler


@pytest.fixture
def multiplexer(mariadb):
    """A pooler; the server refuses what was changed since a look at it.

    That is so from MariaDB 11.8 on, unless READ COMMITTED is asked for,
    which is forgotten here.
    """
    mariadb.execute("SET GLOBAL innodb_snapshot_isolation = 1")
    with Multiplexer(mariadb) as pooler:
        yield pooler
    mariadb.execute("SET GLOBAL innodb_snapshot_isolation = DEFAULT")


def opened(server, pooler):
    """Give engines for a ledger and a cell, by way of a pooler."""
    made = []
    for name in (f"ledger_{uuid4().hex}", f"cell_{uuid4().hex}"):
        server.create_database(name)
        made.append(create_engine(parse_url(pooler.url(name), "x")))
    schema.upgrade(made[0])
    schemas.create(made[1], schemas.S3_IMAGES)
    return made


@pytest.fixture
def counting(monkeypatch):
    """Count, as the agent does."""
    monkeypatch.setattr(counters, "counting", lambda: True)


class Outlet:
    """Somewhere to send to."""

    def send(self, *message):
        pass

    def pump(self):
        pass


@pytest.mark.usefixtures("counting")
def test_whatever_session_a_transaction_gets_it_goes_through(
    postgresql, pgbouncer
):
    exercise(*opened(postgresql, pgbouncer))


@pytest.mark.usefixtures("counting")
def test_what_a_session_was_told_may_be_forgotten(mariadb, multiplexer):
    exercise(*opened(mariadb, multiplexer))

    assert multiplexer.changes > ROUNDS


def exercise(own, cell):
    """Let three work at once, and look at the rows; all connections end."""
    ledger = Ledger(own, SCHEME)

    def work(start):
        sink = NovaSink("cell1", cell)
        writer = Writer(ledger, sink, rewrite=False)
        sweep = Sweep(ledger, sink, writer)
        pen = Pen(
            region="RegionOne", scheme="test", key=None, clock=wall_clock
        )
        publisher = Publisher(
            ledger, Outlet(), pen, batch_size=10, heartbeat_interval=0
        )
        for n in range(start, start + ROUNDS):
            ledger.record([adopting(n) if n % 3 else claiming(n)])
            writer.step()
            publisher.step()
            sweep.begin()
            sweep.step()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(0, 3 * ROUNDS, ROUNDS)))

    while ledger.cursors.is_behind("nova:cell1"):
        Writer(ledger, NovaSink("cell1", cell), rewrite=False).step()
    table = schemas.S3_IMAGES.c
    with cell.begin() as connection:
        found = connection.execute(sa.select(table.id, table.uuid)).all()
        made = connection.execute(
            sa.insert(schemas.S3_IMAGES).values(uuid="Nova's")
        )
        assert made.inserted_primary_key.id in ON_DEMAND
    assert {(row.id, row.uuid) for row in found} == {
        (n if n % 3 else SCHEME.derive(image(n)), image(n))
        for n in range(3 * ROUNDS)
    }
    for engine in (own, cell):
        engine.dispose()
