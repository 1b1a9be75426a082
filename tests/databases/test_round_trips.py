"""How often a server is asked on an image's way, so that nothing creeps in.

doc/source/performance.rst has the same table.
"""

from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from pymysql.connections import Connection
from schemas import S3_IMAGES, create

from ec2map_sync.ledger import Allowance, Ledger, schema, tables
from ec2map_sync.peers.publisher import Publisher
from ec2map_sync.protocol.wire import Pen
from ec2map_sync.rules.claims import Claim, Sighting
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url
from ec2map_sync.sql.together import AND_END

pytestmark = pytest.mark.services

SCHEME = Scheme(b"test")
PAGE = Path(__file__).parents[2] / "doc/source/performance.rst"
ALLOWANCE = Allowance(peer="RegionTwo", max_moves=10, max_evictions=10)


class Outlet:
    """Somewhere to send to."""

    def send(self, *message):
        pass

    def pump(self):
        pass


@pytest.fixture
def engines(mariadb):
    """A ledger, and a cell."""
    own, cell = made = [
        create_engine(
            parse_url(mariadb.create_database(f"{name}_{uuid4().hex}"), "x")
        )
        for name in ("ledger", "cell")
    ]
    schema.upgrade(own)
    create(cell, S3_IMAGES)
    yield made
    for engine in made:
        engine.dispose()


@pytest.fixture
def asked(monkeypatch):
    """What this process asks servers, in order."""
    found = []
    send = Connection._execute_command

    def note(self, command, sql):
        found.append(sql.decode() if isinstance(sql, bytes) else str(sql))
        return send(self, command, sql)

    monkeypatch.setattr(Connection, "_execute_command", note)
    return found


@pytest.fixture
def services(engines):
    """What each service does for one image; warm, and not at its interval."""
    own, cell = engines
    ledger = Ledger(own, SCHEME)
    sink = NovaSink("cell1", cell)
    writer = Writer(ledger, sink, rewrite=False)
    pen = Pen(region="RegionOne", scheme="test", key=None, clock=wall_clock)
    publisher = Publisher(
        ledger, Outlet(), pen, batch_size=10, heartbeat_interval=3600
    )

    def listen():
        image = str(uuid4())
        ledger.see([Sighting(image=image, uuid=image, kind=Kind.AMI)])

    def follow():
        claim = Claim(claimed_at=wall_clock(), image=str(uuid4()))
        ledger.record([claim], allowance=ALLOWANCE)

    services = {
        "Listener": listen,
        "Publisher": publisher.step,
        "Follower": follow,
        "Writer": writer.step,
    }
    for step in (follow, writer.step, listen, publisher.step, writer.step):
        step()
    return services


def on_the_page():
    """Read the table of the page: service -> round trips."""
    text = PAGE.read_text()
    table = text.partition(".. _round trips:")[2].partition("\n\n\n")[0]
    lines = [line.strip() for line in table.splitlines()]
    return {
        name.removeprefix("* - "): int(count.removeprefix("- "))
        for name, count in pairwise(lines)
        if name.startswith("* - ") and count.removeprefix("- ").isdigit()
    }


@pytest.mark.parametrize("name", ["Listener", "Publisher", "Follower"])
def test_a_service_asks_the_server_no_more_often_than_the_page_says(
    services, asked, name
):
    if name == "Publisher":
        services["Listener"]()
    asked.clear()

    services[name]()

    assert len(asked) == on_the_page()[name], "\n".join(asked)


def test_a_writer_asks_no_more_often_until_its_row_is_there(services, asked):
    services["Listener"]()
    asked.clear()

    services["Writer"]()

    there = next(
        n
        for n, text in enumerate(asked)
        if "COMMIT" in text and "INSERT INTO s3_images" in text
    )
    assert there + 1 == on_the_page()["Writer"], "\n".join(asked)
    # The cursor comes after that, with a round trip of its own.
    assert len(asked) == there + 2, "\n".join(asked)


def test_a_last_statement_leaves_no_transaction_open(engines, asked):
    own, _ = engines
    cursors = tables.cursors
    with own.connect() as connection, own.connect() as other:
        made = sa.insert(cursors).values(name="a", revision=1)

        connection.execute(made, execution_options=AND_END)

        assert other.scalar(sa.select(cursors.c.revision)) == 1
        asked.clear()
        connection.commit()
        connection.close()
        assert asked == []
