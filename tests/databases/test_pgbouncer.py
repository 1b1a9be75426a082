"""Ledger and cells behind a pooler that gives each transaction a session."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import schemas
import sqlalchemy as sa
from servers import PgBouncer

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.ec2id import ON_DEMAND, Scheme
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

SCHEME = Scheme(b"test")
ROUNDS = 25
"""Several times as many as a driver waits before it prepares a statement."""


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture
def pooler(postgresql, tmp_path):
    with PgBouncer(tmp_path / "pgbouncer", postgresql) as pooler:
        yield pooler


@pytest.fixture
def engines(postgresql, pooler):
    made = []
    for name in (f"ledger_{uuid4().hex}", f"cell_{uuid4().hex}"):
        postgresql.create_database(name)
        made.append(create_engine(parse_url(pooler.url(name), "x")))
    schema.upgrade(made[0])
    schemas.create(made[1], schemas.S3_IMAGES)
    yield made
    for engine in made:
        engine.dispose()


def test_whatever_session_a_transaction_gets_it_goes_through(engines):
    own, cell = engines
    ledger = Ledger(own, SCHEME)

    def work(start):
        sink = NovaSink("cell1", cell)
        writer = Writer(ledger, sink, rewrite=False)
        for n in range(start, start + ROUNDS):
            ledger.record([Claim(claimed_at=n + 1, image=image(n))])
            writer.step()
            sink.scan(0, 10)
        while writer.step():
            pass

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(0, 3 * ROUNDS, ROUNDS)))

    Writer(ledger, NovaSink("cell1", cell), rewrite=False).step()
    table = schemas.S3_IMAGES.c
    with cell.begin() as connection:
        found = connection.execute(sa.select(table.id, table.uuid)).all()
        made = connection.execute(
            sa.insert(schemas.S3_IMAGES).values(uuid="Nova's")
        )
        assert made.inserted_primary_key.id in ON_DEMAND
    assert {(row.id, row.uuid) for row in found} == {
        (SCHEME.derive(image(n)), image(n)) for n in range(3 * ROUNDS)
    }
