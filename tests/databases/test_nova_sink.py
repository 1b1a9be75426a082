"""What is written into a Nova cell, on every database."""

from contextlib import contextmanager

import pytest
import schemas
import sqlalchemy as sa
from impatience import impatience

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.claims import Claim, Sighting
from ec2map_sync.rules.ec2id import Band, Scheme
from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.sinks import Plan, lock
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

ON_DEMAND = 2**30
SMALL = Scheme(b"test", Band(100, 132))
UPPER = "ABCDEF00-0000-4000-8000-000000000000"

# SQLite has no counter, and BEGIN IMMEDIATE is its own affair.
servers = pytest.mark.parametrize(
    "database",
    [
        pytest.param("mariadb", marks=pytest.mark.services),
        pytest.param("postgresql", marks=pytest.mark.services),
    ],
    indirect=True,
)


def image(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012x}"


@pytest.fixture
def cell(database):
    engine = create_engine(parse_url(database, "x"))
    schemas.create(engine, schemas.S3_IMAGES)
    yield engine
    engine.dispose()


@pytest.fixture
def sink(cell):
    return NovaSink("cell1", cell)


@pytest.fixture
def ledger(tmp_path):
    engine = create_engine(parse_url(f"sqlite:///{tmp_path}/ledger", "x"))
    schema.upgrade(engine)
    yield Ledger(engine, SMALL)
    engine.dispose()


def rows(cell):
    table = schemas.S3_IMAGES.c
    with cell.connect() as connection:
        found = connection.execute(sa.select(table.id, table.uuid)).all()
    return {row.id: row.uuid for row in found}


def boot(cell, uuid):
    """Let Nova make a row on demand; its id."""
    with cell.begin() as connection:
        made = connection.execute(
            sa.insert(schemas.S3_IMAGES).values(uuid=uuid)
        )
        return made.inserted_primary_key.id


def test_an_image_is_written_as_glance_spells_it(cell, sink, ledger):
    key = UPPER.lower()
    number = SMALL.derive(key)
    writer = Writer(ledger, sink, rewrite=False)
    ledger.record([Claim(claimed_at=5, image=key)])
    writer.step()
    assert rows(cell) == {number: key}

    ledger.see([Sighting(image=key, uuid=UPPER)])
    writer.step()

    assert rows(cell) == {number: UPPER}


def test_new_rows_are_written_without_a_look_before(cell, sink, ledger):
    looks = []

    def note(_connection, _cursor, statement, *_):
        if "FROM s3_images" in statement and "DELETE" not in statement:
            looks.append(statement)

    writer = Writer(ledger, sink, rewrite=False)
    ledger.record([Claim(claimed_at=n, image=image(n)) for n in range(1, 9)])
    sa.event.listen(cell, "before_cursor_execute", note)
    while writer.step():
        pass

    assert looks == []
    numbers = ledger.numbers_of(map(image, range(9)))
    assert rows(cell) == {number: i for i, number in numbers.items()}


def test_among_new_rows_one_of_others_stays(cell, sink, ledger, caplog):
    ledger = Ledger(ledger.cursors._engine, Scheme(b"test"))
    claims = [Claim(claimed_at=n, image=image(n)) for n in range(1, 9)]
    ledger.record(claims)
    numbers = ledger.numbers_of(map(image, range(9)))
    taken = numbers[image(5)]
    with cell.begin() as connection:
        row = {"id": taken, "uuid": image(99)}
        connection.execute(sa.insert(schemas.S3_IMAGES).values(**row))

    writer = Writer(ledger, sink, rewrite=False)
    while writer.step():
        pass

    found = rows(cell)
    assert found.pop(taken) == image(99)
    del numbers[image(5)]
    assert found == {number: i for i, number in numbers.items()}
    assert "1 of our numbers are held by rows that are not ours" in caplog.text


def test_rows_that_are_there_already_cost_a_look_and_nothing_else(
    cell, sink, ledger
):
    claims = [Claim(claimed_at=n, image=image(n)) for n in range(1, 5)]
    ledger.record(claims)
    writer = Writer(ledger, sink, rewrite=False)
    writer.step()
    before = rows(cell)

    # Killed between the cell's commit and the cursor: the same again.
    ledger.cursors.forget(sink.name)
    ledger.record([Claim(claimed_at=9, image=image(9))])
    while writer.step():
        pass

    assert rows(cell).items() - before.items() == {
        (ledger.numbers_of([image(9)])[image(9)], image(9))
    }
    assert rows(cell).items() >= before.items()


def test_numbers_change_hands(cell, sink, ledger):
    late, early = [
        image(n) for n in range(500) if SMALL.derive(image(n)) == 100
    ][:2]
    writer = Writer(ledger, sink, rewrite=False)
    ledger.record([Claim(claimed_at=20, image=late)])
    writer.step()
    ledger.record([Claim(claimed_at=10, image=early)])

    writer.step()

    assert rows(cell) == {100: early, SMALL.probe(late, 1): late}


@pytest.mark.parametrize("lost", [False, True])
def test_whoever_moves_is_noted_also_if_its_row_was_lost(
    cell, sink, ledger, lost
):
    late, early = [
        image(n) for n in range(500) if SMALL.derive(image(n)) == 100
    ][:2]
    writer = Writer(ledger, sink, rewrite=False, notes=True)
    ledger.record([Claim(claimed_at=20, image=late)])
    writer.step()
    assert ledger.memos.noted(sink.name, 9) == []
    if lost:
        with cell.begin() as connection:
            connection.execute(sa.delete(schemas.S3_IMAGES))
    ledger.record([Claim(claimed_at=10, image=early)])

    writer.step()

    assert rows(cell) == {100: early, SMALL.probe(late, 1): late}
    noted = ledger.memos.noted(sink.name, 9)
    assert {memo.image for memo in noted} == {late}


@servers
def test_what_nova_counts_itself_lies_above_our_band(cell, sink):
    legacy = boot(cell, "before")
    highest = SinkRow(number=ON_DEMAND - 2, uuid=image(1))
    with sink.session() as session:
        session.apply(Plan(add=(highest,)))

    assert legacy < 2**24
    assert boot(cell, "after") >= ON_DEMAND


@servers
def test_a_counter_that_could_not_be_pushed_is_pushed_by_the_next_step(
    cell, sink, ledger
):
    writer = Writer(ledger, sink, rewrite=False)
    writer.step()
    # As a backup puts it back, which does not bring the counter.
    schemas.S3_IMAGES.drop(cell)
    schemas.create(cell, schemas.S3_IMAGES)
    ledger.record([Claim(claimed_at=5, image=image(1))])
    with (
        failing_once(cell, str(ON_DEMAND - 1)),
        pytest.raises(OSError, match="cut"),
    ):
        writer.step()

    writer.step()

    assert rows(cell) == {SMALL.derive(image(1)): image(1)}
    assert boot(cell, "after") >= ON_DEMAND


@contextmanager
def failing_once(engine, value):
    """Let the first statement with a value fail, as if the link were cut."""

    def fail(*given):
        if value in f"{given[2]} {given[3]}":
            raise OSError("the link was cut")

    sa.event.listen(engine, "before_cursor_execute", fail)
    yield
    sa.event.remove(engine, "before_cursor_execute", fail)


@servers
def test_reserving_again_never_takes_the_counter_back(cell, sink):
    drawn = []
    for n in range(3):
        sink.reserve()
        drawn.append(boot(cell, f"a{n}"))
        with sink.session() as session:
            row = SinkRow(number=1000 + n, uuid=image(n))
            session.apply(Plan(add=(row,)))
        drawn.append(boot(cell, f"b{n}"))

    assert drawn == sorted(set(drawn))
    assert drawn[0] >= ON_DEMAND


def test_a_row_that_changed_since_it_was_seen_stays(cell, sink):
    seen = SinkRow(number=100, uuid=image(1))
    with sink.session() as session:
        session.apply(Plan(add=(SinkRow(number=100, uuid=image(2)),)))

    with sink.session() as session:
        session.apply(Plan(remove=(seen,)))

    assert rows(cell) == {100: image(2)}


@servers
def test_two_writers_of_ours_take_turns(cell, sink):
    with (
        impatience(cell),
        sink.session(),
        pytest.raises(lock.Busy),
        sink.session(),
    ):
        pass

    for _ in range(2):
        with sink.session() as session:
            session.apply(Plan())


def test_a_writer_that_fails_lets_the_next_one_in(cell, sink):
    twice = SinkRow(number=100, uuid=image(1))
    with pytest.raises(sa.exc.IntegrityError), sink.session() as session:
        session.apply(Plan(add=(twice, twice)))

    with sink.session() as session:
        session.apply(Plan(add=(twice,)))
    assert rows(cell) == {100: image(1)}
