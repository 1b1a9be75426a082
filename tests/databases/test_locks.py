"""No lock is needed that some servers refuse, or keep only here or there."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import schemas
import sqlalchemy as sa
from patience import wait_until, within
from strict import refused

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.operate.checks import databases
from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import DERIVED, Kind, Scheme
from ec2map_sync.rules.errors import SchemaError
from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.settings.values import Cell
from ec2map_sync.sinks import Plan
from ec2map_sync.sinks.ec2api import Ec2ApiSink
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


ROW = SinkRow(number=DERIVED.first, uuid=image(0), kind=Kind.AMI)
STRICT = (
    "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1105, MESSAGE_TEXT = "
    "'Percona-XtraDB-Cluster prohibits use of GET_LOCK'"
)


@contextmanager
def changing(change):
    """Send other statements than asked for, so that servers refuse them."""

    def replace(_connection, _cursor, statement, parameters, *_):
        changed = change(statement)
        return changed, parameters if changed == statement else ()

    sa.event.listen(sa.Engine, "before_cursor_execute", replace, retval=True)
    yield
    sa.event.remove(sa.Engine, "before_cursor_execute", replace)


@pytest.fixture
def engine(database):
    engine = create_engine(parse_url(database, "x"))
    schemas.create(engine, schemas.S3_IMAGES, schemas.ITEMS)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


def cell(engine):
    return databases._cell(Cell(name="cell1", url=engine.url))


def sinks(engine):
    return NovaSink("cell1", engine), Ec2ApiSink(engine)


def add(sink, row):
    with sink.session() as session:
        session.apply(Plan(add=(row,)))


def test_whoever_holds_a_lock_it_is_in_order(engine):
    for sink in sinks(engine):
        with sink.session():
            if engine.dialect.name != "sqlite":
                assert cell(engine).good
                assert databases._ec2api(engine.url).good
    assert cell(engine).good
    assert databases._ledger(engine, Scheme(b"x")).good


def test_behind_the_lock_nothing_of_it_is_seen(engine):
    for sink in sinks(engine):
        with sink.session():
            if engine.dialect.name != "sqlite":
                assert sink.scan(0, 10) == []
        assert sink.scan(0, 10) == []


@pytest.mark.services
def test_a_cluster_that_refuses_get_lock_is_written_to(mariadb):
    engine = create_engine(parse_url(mariadb.create_database("strict"), "x"))
    schemas.create(engine, schemas.S3_IMAGES, schemas.ITEMS)

    with changing(lambda text: STRICT if "lock(" in text.lower() else text):
        assert cell(engine).good
        assert databases._ec2api(engine.url).good
        for sink in sinks(engine):
            add(sink, ROW)
            assert sink.rows([ROW.number]) == [ROW]
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT GET_LOCK('x', 1)",
        "LOCK TABLES head WRITE",
        "CREATE TABLE x AS SELECT 1",
        "ALTER TABLE x ENGINE=MyISAM",
        "CREATE TEMPORARY TABLE x (id INT)",
        "SET @x = 1",
        "SELECT last_insert_id()",
    ],
)
def test_what_a_strict_cluster_refuses_is_noticed_in_each_test(statement):
    """As the fixture of this directory does; what is quoted is data."""
    assert refused(statement)
    assert not refused("INSERT INTO x VALUES ('GET_LOCK @x') FOR UPDATE")
    assert not refused("SELECT @@version")


@pytest.mark.services
def test_each_table_of_the_ledger_has_a_primary_key(mariadb):
    """A strict cluster takes no row of one without."""
    name = "keys_of_all"
    engine = create_engine(parse_url(mariadb.create_database(name), "x"))
    schema.upgrade(engine)
    engine.dispose()

    of_ours = f"table_schema = '{name}'"
    keyed = (
        "SELECT table_name FROM information_schema.table_constraints "
        f"WHERE {of_ours} AND constraint_type = 'PRIMARY KEY'"
    )
    lacking = mariadb.execute(
        f"SELECT table_name FROM information_schema.tables WHERE {of_ours} "
        f"AND (engine <> 'InnoDB' OR table_name NOT IN ({keyed}))"
    )
    assert lacking == []


@pytest.mark.services
@pytest.mark.parametrize("kind", [0, 1])
def test_many_who_wait_for_one_lock_all_get_it(engine, kind):
    """Where a row is waited for by several, deadlocks are no error."""
    sink = sinks(engine)[kind]
    first = threading.Event()

    def write(n):
        first.wait(within(10))
        add(sink, replace(ROW, number=ROW.number + n, uuid=image(n)))

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(write, n) for n in range(8)]
        with sink.session():
            first.set()
        for one in done:
            one.result(within(30))

    assert len(sink.scan(0, 10)) == 8


@pytest.mark.services
def test_who_waits_for_a_sink_keeps_nothing_from_others(mariadb):
    """Another host is at work there, and takes its time."""
    url = parse_url(mariadb.create_database("waiting"), "x")
    with ExitStack() as stack:
        engines = [create_engine(url) for _ in range(3)]
        for engine in engines:
            stack.callback(engine.dispose)
        here, cell_here, cell_there = engines
        schemas.create(here, schemas.S3_IMAGES, schemas.ITEMS)
        schema.upgrade(here)
        ledger = Ledger(here, Scheme(b"x"))
        see(ledger, 0)
        waiter, other = (
            Writer(ledger, sink, rewrite=False)
            for sink in (NovaSink("cell1", cell_here), Ec2ApiSink(here))
        )
        thread = stack.enter_context(ThreadPoolExecutor(1))
        with NovaSink("cell1", cell_there).session():
            waiting = thread.submit(waiter.step)
            wait_until(lambda: cell_here.pool.checkedout() == 1)
            see(ledger, 1)
            while other.step():
                pass
            assert here.pool.checkedout() == 0
            assert not waiting.done()
        waiting.result(within(10))
        while waiter.step():
            pass

        assert len(NovaSink("cell1", here).scan(0, 10)) == 2
        assert len(Ec2ApiSink(here).scan(0, 10)) == 2


def see(ledger, n):
    ledger.see([Sighting(image=image(n), uuid=image(n), kind=Kind.AMI)])


@pytest.mark.services
def test_a_server_that_knows_no_skip_locked_is_named_at_once(mariadb):
    engine = create_engine(parse_url(mariadb.create_database("old"), "x"))
    schema.upgrade(engine)

    with (
        changing(lambda text: text.replace("SKIP LOCKED", "SKIPPED LOCKS")),
        pytest.raises(SchemaError, match=r"MariaDB 10\.6 and MySQL 8\.0"),
    ):
        databases._ledger(engine, Scheme(b"x"))
    engine.dispose()
