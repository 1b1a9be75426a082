"""A server that answers, and writes no more, is left for the new one."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from uuid import uuid4

import pytest
import schemas
import sqlalchemy as sa
from multiplexer import packet
from patience import wait_until, within
from proxy import Proxy, as_it_comes
from servers import MariaDB, PostgreSQL

from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.sinks import Plan
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sql import database, errors
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

IMAGE = "00000000-0000-4000-8000-000000000001"
ME = sa.text("SELECT connection_id()")
FAREWELL = (
    b"\xff" + (4031).to_bytes(2, "little") + b"#HY000The client was "
    b"disconnected by the server because of inactivity."
)
LEFT = {code for code in errors.CANNOT_WRITE if isinstance(code, int)}


@contextmanager
def told(server, before, after):
    """Tell a server something, and later the contrary."""
    for statement in before:
        server.execute(statement)
    yield
    for statement in after:
        server.execute(statement)


def is_read_only(server):
    on, off = "SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"
    return told(server, [on], [off])


def takes_transactions_that_read(server):
    on, off = "SET GLOBAL tx_read_only = 1", "SET GLOBAL tx_read_only = 0"
    return told(server, [on, "KILL USER u"], [off])


def follows(server):
    change = "ALTER SYSTEM SET default_transaction_read_only ="
    end = "SELECT pg_reload_conf()"
    return told(server, [f"{change} on", end], [f"{change} off", end])


@contextmanager
def came_back_to_be_read(server):
    options = server._options
    server._options += ("--innodb-read-only",)
    server.restart()
    yield
    server._options = options
    server.restart()


WAYS = [
    (MariaDB, is_read_only, {1290}),
    (MariaDB, takes_transactions_that_read, {1792}),
    (MariaDB, came_back_to_be_read, {1036, 1836}),
    (PostgreSQL, follows, {"25006"}),
]


@pytest.fixture(scope="module")
def all_servers(tmp_path_factory):
    """Give two servers of each kind."""
    with ExitStack() as stack:
        made = {}
        for kind in (MariaDB, PostgreSQL):
            made[kind] = [
                stack.enter_context(kind(tmp_path_factory.mktemp("server")))
                for _ in "12"
            ]
        for server in made[MariaDB]:
            # Whoever may do everything may write there still.
            server.execute("CREATE USER u IDENTIFIED BY 'p'")
            server.execute("GRANT ALL ON `c%`.* TO u")
        yield made


@pytest.fixture
def servers(request, all_servers):
    """Give two servers with a cell of the same name."""
    pair, name = all_servers[request.param], f"c{uuid4().hex}"
    for server in pair:
        engine = sa.create_engine(parse_url(server.create_database(name), ""))
        schemas.create(engine, schemas.S3_IMAGES)
        engine.dispose()
    return *pair, name


@pytest.fixture
def engine(servers):
    old, _, name = servers
    url = parse_url(old.url(name), "x")
    if isinstance(old, MariaDB):
        url = url.set(username="u", password="p")
    with Proxy(old.port, as_it_comes) as proxy:
        engine = create_engine(url.set(port=proxy.port))
        yield engine, proxy
        engine.dispose()


def rows(server, name):
    if isinstance(server, MariaDB):
        return server.execute(f"SELECT id FROM {name}.s3_images")
    return server.execute("SELECT id FROM s3_images", name)


def add(sink, number):
    with sink.session() as session:
        session.apply(Plan(add=(SinkRow(number=number, uuid=IMAGE),)))


@pytest.mark.parametrize(
    ("servers", "way", "codes"), WAYS, indirect=["servers"]
)
def test_after_a_switch_over_the_second_attempt_writes(
    servers, engine, way, codes
):
    (old, new, name), (engine, proxy) = servers, engine
    sink = NovaSink("cell1", engine)
    with engine.connect(), engine.connect():
        pass  # several connections rest in the pool
    add(sink, 100)

    with way(old):
        wait_until(lambda: fails(sink, codes), 10)
        proxy.leads_to = new.port
        add(sink, 101)
        assert rows(old, name) == [(100,)]

    assert rows(new, name) == [(101,)]


def fails(sink, codes):
    """Whether an attempt is refused so, and the connection left.

    What was told a server takes a moment, or costs a connection.
    """
    try:
        add(sink, 100)
    except sa.exc.IntegrityError:
        return False
    except sa.exc.DBAPIError as error:
        return (
            bool(errors.codes(error.orig) & codes)
            and error.connection_invalidated
        )
    return False


@pytest.mark.parametrize("code", sorted(LEFT))
def test_a_server_that_answers_so_is_left_at_once(mariadb, code):
    """Also what this machine's server has no reason to say."""
    engine = create_engine(parse_url(mariadb.url("mysql"), "x"))
    told = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}"
    with engine.connect() as connection:
        before = connection.scalar(ME)
    with engine.connect() as connection:
        assert connection.scalar(ME) == before
        with pytest.raises(sa.exc.DBAPIError) as raised:
            connection.exec_driver_sql(told)

    assert raised.value.connection_invalidated
    with engine.connect() as connection:
        assert connection.scalar(ME) != before
    engine.dispose()


@pytest.mark.parametrize("rested", [database.RESTED, 3600])
@pytest.mark.parametrize("number", [0, 1])
def test_a_server_that_says_farewell_to_who_rests_is_left(
    mariadb, monkeypatch, rested, number
):
    """As MySQL does from 8.0.24 on; here, a proxy says it."""
    monkeypatch.setattr(database, "RESTED", rested)
    user = f"u{uuid4().hex[:8]}"
    mariadb.execute(f"CREATE USER {user}")
    waits = "SET GLOBAL wait_timeout ="

    def split(source):
        yield from as_it_comes(source)
        yield packet(number, FAREWELL)  # also to the server, which has gone

    with (
        told(mariadb, [f"{waits} 1"], [f"{waits} DEFAULT"]),
        Proxy(mariadb.port, split) as proxy,
    ):
        url = parse_url(f"mysql://{user}@127.0.0.1:{proxy.port}/", "x")
        engine = create_engine(url)
        before = once(engine, ME)
        wait_until(lambda: not sessions_of(mariadb, user), 10)

        if rested > 1:
            with pytest.raises(sa.exc.OperationalError) as raised:
                once(engine, ME)
            assert raised.value.connection_invalidated
        assert once(engine, ME) > before
        engine.dispose()


def sessions_of(server, user):
    return server.execute(
        f"SELECT id FROM information_schema.processlist WHERE user = '{user}'"
    )


def once(engine, statement):
    with engine.connect() as connection:
        return connection.scalar(statement)


def test_to_make_a_server_read_only_takes_no_longer_than_a_short_wait(
    servers_of_mariadb, monkeypatch
):
    """It waits for who waits for us, and lets us begin nothing new."""
    monkeypatch.setattr(database, "LOCK_WAIT", 3)
    waits = "Waiting for backup lock"
    server, name = servers_of_mariadb
    url = parse_url(server.url(name), "x").set(username="u", password="p")
    engine = create_engine(url)
    table = schemas.S3_IMAGES
    with engine.begin() as connection:
        connection.execute(sa.insert(table).values(id=100, uuid=IMAGE))
    change = sa.update(table).values(deleted=0)
    with ThreadPoolExecutor(2) as threads, engine.connect() as holder:
        holder.execute(change)
        waiter = threads.submit(run, engine, change)
        wait_until(lambda: states(server, "Updating"), 10)
        switch = threads.submit(server.execute, "SET GLOBAL read_only = 1")
        wait_until(lambda: switch.done() or states(server, waits), 10)
        began = time.monotonic()

        with suppress(sa.exc.DBAPIError):
            holder.execute(change)

        switch.result(within(30))
        assert time.monotonic() - began < within(10)
        with pytest.raises(sa.exc.OperationalError):
            waiter.result(within(10))
    server.execute("SET GLOBAL read_only = 0")
    engine.dispose()


@pytest.fixture
def servers_of_mariadb(all_servers):
    server, name = all_servers[MariaDB][0], f"c{uuid4().hex}"
    engine = sa.create_engine(parse_url(server.create_database(name), ""))
    schemas.create(engine, schemas.S3_IMAGES)
    engine.dispose()
    return server, name


def run(engine, statement):
    with engine.begin() as connection:
        connection.execute(statement)


def states(server, state):
    return server.execute(
        "SELECT id FROM information_schema.processlist "
        f"WHERE user IN ('u', 'root') AND state = '{state}'"
    )
