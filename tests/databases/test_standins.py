"""Behind what switches over from one server to another, writes go on."""

import pytest
import schemas
import sqlalchemy as sa
from patience import wait_until
from proxy import Proxy, as_it_comes
from servers import HAProxy, PostgreSQL, Standby, replicated

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.outages import describe
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import DERIVED, ON_DEMAND, Scheme
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

SCHEME = Scheme(b"x")
SWITCH = 10
"""Seconds from a switch to the next row."""


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


class Region:
    """A ledger and a cell in one database server, by way of a port."""

    def __init__(self, url, port):
        self.engines = [
            create_engine(parse_url(f"{url}/{name}", "x").set(port=port))
            for name in ("ledger", "cell")
        ]
        self.ledger = Ledger(self.engines[0], SCHEME)
        self.cell = self.engines[1]
        sink = NovaSink("cell1", self.cell)
        self.writer = Writer(self.ledger, sink, rewrite=False)
        self.count = 0

    def create(self):
        schema.upgrade(self.engines[0])
        schemas.create(self.cell, schemas.S3_IMAGES)

    def works(self):
        """See an image and write its row, or fail."""
        uuid = image(self.count)
        try:
            self.ledger.see([Sighting(image=uuid, uuid=uuid)])
            while self.writer.step():
                pass
        except sa.exc.DBAPIError:
            return False
        self.count += 1
        return True

    def rows(self):
        table = schemas.S3_IMAGES.c
        with self.cell.connect() as connection:
            found = connection.execute(sa.select(table.id, table.uuid))
            return {i: uuid for i, uuid in found if i in DERIVED}

    def expected(self):
        images = map(image, range(self.count))
        return {SCHEME.derive(uuid): uuid for uuid in images}

    def boot(self):
        with self.cell.begin() as connection:
            made = connection.execute(
                sa.insert(schemas.S3_IMAGES).values(uuid="of Nova")
            )
            return made.inserted_primary_key.id

    def close(self):
        for engine in self.engines:
            engine.dispose()


@pytest.fixture
def pair(tmp_path):
    """A server, and one that follows it."""
    with replicated(tmp_path) as (one, two):
        for name in ("ledger", "cell"):
            one.create_database(name)
        one.let_in("u")
        yield one, two


@pytest.fixture
def behind(pair, tmp_path):
    """A region behind HAProxy, with an image or two."""
    with HAProxy(tmp_path / "haproxy", *pair) as proxy:
        region = Region("mysql+pymysql://u:p@127.0.0.1", proxy.port)
        region.create()
        assert region.works()
        assert region.works()
        wait_until(lambda: arrived(pair[1]) == 2, 30)
        yield region, proxy
        region.close()


def arrived(server):
    """Count the rows on the server that follows, as far as it has come."""
    if not server.execute(
        "SELECT 1 FROM information_schema.tables "
        "WHERE table_name = 's3_images'"
    ):
        return 0
    counts = server.execute(
        "SELECT (SELECT count(*) FROM cell.s3_images), "
        "(SELECT min(revision) FROM ledger.cursors)"
    )
    return counts[0][0] if counts[0][1] == counts[0][0] else 0


def test_behind_haproxy_a_primary_that_dies_is_left(pair, behind):
    region, _ = behind
    pair[0].kill()
    pair[1].execute("STOP SLAVE")

    wait_until(region.works, SWITCH)

    assert region.rows() == region.expected()
    assert region.boot() in ON_DEMAND


def test_behind_haproxy_a_primary_that_becomes_read_only_is_left(pair, behind):
    region, proxy = behind
    pair[0].execute("SET GLOBAL read_only = 1")
    pair[1].execute("STOP SLAVE")
    proxy.take_out(pair[0])
    assert not region.works()

    wait_until(region.works, SWITCH)

    assert region.rows() == region.expected()
    assert region.boot() in ON_DEMAND
    assert len(pair[0].execute("SELECT id FROM cell.s3_images")) == 2


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("SET GLOBAL max_connections = 10", 1040),
        ("ALTER USER u WITH MAX_USER_CONNECTIONS 9", 1226),
    ],
)
def test_where_no_connection_is_to_be_had_the_next_attempt_may_get_one(
    pair, limit, code
):
    one, _ = pair
    region = Region("mysql+pymysql://u:p@127.0.0.1", one.port)
    region.create()
    region.close()
    one.execute(limit)
    others = [region.cell.connect() for _ in range(9)]

    with pytest.raises(sa.exc.OperationalError, match=str(code)) as raised:
        region.ledger.head()

    assert str(code) in describe(raised.value)
    for other in others:
        other.close()
    region.cell.dispose()
    wait_until(region.works, SWITCH)
    region.close()


def test_a_session_that_was_ended_for_resting_costs_no_attempt(pair):
    one, _ = pair
    region = Region("mysql+pymysql://u:p@127.0.0.1", one.port)
    region.create()
    assert region.works()
    one.execute("SET GLOBAL wait_timeout = 1")
    region.close()
    assert region.works()
    user = "SELECT id FROM information_schema.processlist WHERE user = 'u'"
    wait_until(lambda: not one.execute(user), 10)

    assert region.works()
    assert region.rows() == region.expected()
    region.close()


def test_a_standby_that_is_promoted_takes_what_comes(tmp_path):
    with PostgreSQL(tmp_path / "one") as one:
        for name in ("ledger", "cell"):
            one.create_database(name)
        with (
            Standby(tmp_path / "two", one) as two,
            Proxy(one.port, as_it_comes) as proxy,
        ):
            region = Region("postgresql://postgres@127.0.0.1", proxy.port)
            region.create()
            assert region.works()
            await_replay(one, two)
            one.kill()
            # The address moves before the standby is ready for it.
            proxy.leads_to = two.port
            wait_until(lambda: refused_as_standby(region), 10)

            two.promote()
            wait_until(region.works, SWITCH)

            assert region.rows() == region.expected()
            assert region.boot() in ON_DEMAND
            region.close()


def await_replay(primary, standby):
    (at,) = primary.execute("SELECT pg_current_wal_lsn()")[0]
    behind = f"SELECT pg_last_wal_replay_lsn() >= '{at}'"
    wait_until(lambda: standby.execute(behind)[0][0], 30)


def refused_as_standby(region):
    """Whether a write is refused, and the connection left for that."""
    uuid = image(999)
    try:
        region.ledger.see([Sighting(image=uuid, uuid=uuid)])
    except sa.exc.DBAPIError as error:
        sqlstate = getattr(error.orig, "sqlstate", None)
        return sqlstate == "25006" and error.connection_invalidated
    return False
