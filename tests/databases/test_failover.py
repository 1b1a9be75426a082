"""Where several servers hold a cell, Nova counts above our band on each."""

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import schemas
import servers
import sqlalchemy as sa
from patience import wait_until
from servers import Galera

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.operate.checks import databases
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.ec2id import DERIVED, ON_DEMAND, Scheme
from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.settings.values import Cell
from ec2map_sync.sinks import Plan, nova
from ec2map_sync.sinks.audit import SinkAuditor, Sweep
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql import errors
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

IMAGE = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
THIRD = "00000000-0000-4000-8000-000000000003"
OURS = SinkRow(number=DERIVED.first + 5, uuid=IMAGE)


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    """Give a server, and one that follows it."""
    with servers.replicated(tmp_path_factory.mktemp("replicated")) as pair:
        yield pair


@pytest.fixture(scope="module")
def clustered():
    """Give two nodes that both take writes."""
    with ExitStack() as stack:
        place = tempfile.TemporaryDirectory(prefix="ec2map-", dir="/tmp")
        directory = Path(stack.enter_context(place))
        directory.chmod(0o755)  # rsync is nobody, see Galera
        one = stack.enter_context(Galera(directory / "one"))
        two = stack.enter_context(Galera(directory / "two", one))
        yield one, two


@pytest.fixture(params=["replicated", "clustered"])
def pair(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def cells(pair):
    """Give engines for one cell, on either server."""
    name = f"cell_{uuid4().hex}"
    urls = (pair[0].create_database(name), pair[1].url(name))
    engines = [create_engine(parse_url(url, "x")) for url in urls]
    schemas.create(engines[0], schemas.S3_IMAGES)
    wait_until(lambda: has_table(pair[1], name), 30)
    yield engines
    for engine in engines:
        engine.dispose()


def has_table(server, name):
    return server.execute(
        "SELECT 1 FROM information_schema.tables "
        f"WHERE table_schema = '{name}'"
    )


def rows(cell):
    table = schemas.S3_IMAGES.c
    with cell.connect() as connection:
        found = connection.execute(sa.select(table.id, table.uuid))
        return dict(map(tuple, found))


def boot(cell, uuid="of Nova"):
    """Let Nova make a row on demand; its id."""
    with cell.begin() as connection:
        made = connection.execute(
            sa.insert(schemas.S3_IMAGES).values(uuid=uuid)
        )
        return made.inserted_primary_key.id


def add(sink, row):
    with sink.session() as session:
        session.apply(Plan(add=(row,)))


def forget(cell):
    """Bring a counter back to what the rows say, as a dump does."""
    with cell.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE s3_images AUTO_INCREMENT = 1")


def test_nova_counts_above_our_band_on_the_other_server_too(cells):
    add(NovaSink("cell1", cells[0]), OURS)
    wait_until(lambda: rows(cells[1]) == {OURS.number: IMAGE}, 30)

    assert boot(cells[1]) in ON_DEMAND


def test_what_an_earlier_release_had_pushed_on_one_server_only(cells):
    one, two = cells
    with one.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO s3_images (id, uuid) "
            f"VALUES ({ON_DEMAND.first - 1}, 'rolled back')"
        )
        connection.rollback()

    NovaSink("cell1", one).reserve()
    boot(one, "marks the end")
    wait_until(lambda: rows(two), 30)

    assert min(rows(two)) in ON_DEMAND
    assert boot(two) in ON_DEMAND


def test_before_a_row_of_ours_a_server_that_forgot_is_put_right(
    cells, monkeypatch
):
    one, two = cells
    sink = NovaSink("cell1", one)
    sink.reserve()
    forget(two)
    # The link leads to the other server now; nobody tells the sink.
    monkeypatch.setattr(sink, "_writing", two.execution_options())

    add(sink, OURS)

    assert boot(two) in ON_DEMAND


def test_a_proxy_may_lead_a_connection_to_another_server(cells, monkeypatch):
    sink = NovaSink("cell1", cells[0])
    sink.reserve()
    add(sink, OURS)
    monkeypatch.setattr(nova, "LOOK_AGAIN", 0)
    add(sink, SinkRow(number=OURS.number + 1, uuid=OTHER))
    assert not sink.suspect
    forget(cells[0])

    add(sink, SinkRow(number=OURS.number + 2, uuid=THIRD))

    assert sink.suspect


def test_to_keep_the_counter_costs_no_second_commit(cells):
    sink = NovaSink("cell1", cells[0])
    commits = []
    sa.event.listen(cells[0], "commit", commits.append)

    add(sink, OURS)

    assert len(commits) == 1


def test_the_last_number_below_is_an_image_s_like_any_other(cells):
    last = SinkRow(number=ON_DEMAND.first - 1, uuid=IMAGE)
    sink = NovaSink("cell1", cells[0])
    add(sink, last)
    sink.reserve()
    add(sink, OURS)
    expected = {last.number: IMAGE, OURS.number: IMAGE}

    wait_until(lambda: rows(cells[1]) == expected, 30)
    assert boot(cells[1]) in ON_DEMAND


def test_a_counter_in_our_band_is_named_and_put_right(cells, tmp_path, caplog):
    cell = cells[0]
    forget(cell)
    with cell.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO s3_images (id, uuid) "
            f"VALUES ({OURS.number}, '{IMAGE}')"
        )
    found = databases._cell(Cell(name="cell1", url=cell.url))
    assert not found.good
    assert "in our band" in found.found

    audit(cell, f"sqlite:///{tmp_path}/ledger")

    assert "Nova counted its ids in our band" in caplog.text
    assert set(rows(cell)) == {OURS.number, Scheme(b"x").derive(IMAGE)}
    assert databases._cell(Cell(name="cell1", url=cell.url)).good


def test_what_nova_took_in_our_band_meanwhile_is_listed(cells, tmp_path):
    cell = cells[0]
    opened = region(cell, f"sqlite:///{tmp_path}/ledger")
    with opened as (ledger, sink, writer):
        auditor = SinkAuditor(
            Sweep(ledger, sink, writer),
            "cell1",
            may_begin=lambda: True,
            interval=3600,
        )
        while auditor.step():
            pass
        assert ledger.divergences.found() == []
        # Another server takes over, which has not heard of Nova's counter.
        forget(cell)
        with cell.begin() as connection:
            connection.execute(
                sa.insert(schemas.S3_IMAGES).values(id=OURS.number, uuid="x")
            )
        taken = boot(cell, OTHER)
        assert taken in DERIVED
        cell.dispose()

        ledger.record([Claim(claimed_at=6, image=THIRD)])
        writer.step()
        while auditor.step():
            pass

        assert taken in {one.number for one in ledger.divergences.found()}
        assert boot(cell) in ON_DEMAND


def test_a_writer_that_was_overtaken_on_another_node_writes_nothing(clustered):
    """Under the number it saw X, then Y, then X again."""
    name = f"cell_{uuid4().hex}"
    urls = (clustered[0].create_database(name), clustered[1].url(name))
    one, two = (create_engine(parse_url(url, "x")) for url in urls)
    schemas.create(one, schemas.S3_IMAGES)
    wait_until(lambda: has_table(clustered[1], name), 30)
    slow, fast = NovaSink("cell1", one), NovaSink("cell1", two)
    x, y = OURS, SinkRow(number=OURS.number, uuid=OTHER)
    end = SinkRow(number=OURS.number + 1, uuid=THIRD)
    expected = {row.number: row.uuid for row in (x, end)}
    add(slow, x)
    wait_until(lambda: rows(two) == {x.number: x.uuid}, 30)

    with slow.session() as session:
        for steps in (
            Plan(remove=(x,), add=(y,)),
            Plan(remove=(y,), add=(x, end)),
        ):
            with fast.session() as other:
                other.apply(steps)
        wait_until(lambda: rows(one) == expected, 30)
        with pytest.raises(sa.exc.OperationalError) as raised:
            session.apply(Plan(remove=(x,), add=(y,)))

    assert errors.codes(raised.value.orig) & errors.DEADLOCK
    wait_until(lambda: rows(one) == rows(two) == expected, 30)
    for engine in (one, two):
        engine.dispose()


def test_a_node_that_rejects_everything_is_left(clustered):
    node = clustered[1]
    engine = create_engine(parse_url(node.url("mysql"), "x"))
    same = sa.text("SELECT connection_id() FROM user LIMIT 1")
    before = once(engine, same)
    node.execute("SET GLOBAL wsrep_reject_queries = ALL")
    try:
        with pytest.raises(sa.exc.DBAPIError) as raised:
            once(engine, same)
    finally:
        node.execute("SET GLOBAL wsrep_reject_queries = NONE")

    assert raised.value.connection_invalidated
    assert once(engine, same) != before
    engine.dispose()


def once(engine, statement):
    with engine.connect() as connection:
        return connection.scalar(statement)


@contextmanager
def region(cell, ledger_url):
    """Give a ledger with an image, a sink and its Writer."""
    engine = create_engine(parse_url(ledger_url, "x"))
    schema.upgrade(engine)
    ledger = Ledger(engine, Scheme(b"x"))
    ledger.record([Claim(claimed_at=5, image=IMAGE)])
    sink = NovaSink("cell1", cell)
    yield ledger, sink, Writer(ledger, sink, rewrite=False)
    engine.dispose()


def audit(cell, ledger_url):
    with region(cell, ledger_url) as (ledger, sink, writer):
        Sweep(ledger, sink, writer).step()
        writer.step()
