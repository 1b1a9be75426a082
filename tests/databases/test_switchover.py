"""A server that answers, and writes no more, is left for the new one."""

import pytest
import schemas
import sqlalchemy as sa
from patience import wait_until
from proxy import Proxy, as_it_comes
from servers import MariaDB, PostgreSQL

from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.sinks import Plan
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

IMAGE = "00000000-0000-4000-8000-000000000001"
GIVES_UP = {
    MariaDB: ("SET GLOBAL read_only = 1",),
    PostgreSQL: (
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    ),
}


@pytest.fixture(params=[MariaDB, PostgreSQL])
def servers(request, tmp_path):
    with (
        request.param(tmp_path / "old") as old,
        request.param(tmp_path / "new") as new,
    ):
        for server in (old, new):
            engine = sa.create_engine(
                parse_url(server.create_database("c"), "")
            )
            schemas.create(engine, schemas.S3_IMAGES)
            engine.dispose()
            if isinstance(server, MariaDB):
                # Whoever may do everything may write there still.
                server.execute("CREATE USER u IDENTIFIED BY 'p'")
                server.execute("GRANT ALL ON c.* TO u")
        yield old, new


@pytest.fixture
def engine(servers):
    old, _ = servers
    url = parse_url(old.url("c"), "x")
    if isinstance(old, MariaDB):
        url = url.set(username="u", password="p")
    with Proxy(old.port, as_it_comes) as proxy:
        engine = create_engine(url.set(port=proxy.port))
        yield engine, proxy
        engine.dispose()


def rows(server):
    statement = "SELECT id FROM s3_images"
    if isinstance(server, MariaDB):
        return server.execute(statement.replace("s3", "c.s3"))
    return server.execute(statement, "c")


def add(sink, number):
    with sink.session() as session:
        session.apply(Plan(add=(SinkRow(number=number, uuid=IMAGE),)))


def test_after_a_switch_over_the_second_attempt_writes(servers, engine):
    (old, new), (engine, proxy) = servers, engine
    sink = NovaSink("cell1", engine)
    with engine.connect(), engine.connect():
        pass  # several connections rest in the pool
    add(sink, 100)

    for statement in GIVES_UP[type(old)]:
        old.execute(statement)
    proxy.leads_to = new.port
    wait_until(lambda: fails(sink), 10)
    add(sink, 101)

    assert rows(old) == [(100,)]
    assert rows(new) == [(101,)]


def fails(sink):
    """Whether an attempt fails; PostgreSQL reads its options in a moment."""
    try:
        sink.reserve()
        add(sink, 100)
    except sa.exc.IntegrityError:
        return False
    except sa.exc.DBAPIError as error:
        return error.connection_invalidated
    return False
