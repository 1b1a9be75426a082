"""A ledger that was changed by hand: found, put right, no number changed."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

import made
import pytest
from edited import (
    ADOPTER,
    IMAGES,
    SCHEME,
    START,
    TWO,
    fill,
    image,
    pull,
    rows,
    state,
    whole_round,
)
from hypothesis import given, settings, strategies as st

from ec2map_sync.agent.health import Memory
from ec2map_sync.ledger import Ledger, tables
from ec2map_sync.rules.claims import Sighting, claim_of
from ec2map_sync.rules.errors import NoHead
from ec2map_sync.sql.database import create_engine, parse_url


def open_ledger(path):
    engine = create_engine(parse_url(f"sqlite:///{path}", "x"))
    return Ledger(engine, SCHEME, lambda: START)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "ledger"
    engine = create_engine(parse_url(f"sqlite:///{path}", "x"))
    made.make(engine)
    ledger = Ledger(engine, SCHEME, lambda: START)
    fill(ledger)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture
def ledger(sound, tmp_path):
    copyfile(sound, tmp_path / "copy")
    ledger = open_ledger(tmp_path / "copy")
    yield ledger
    ledger._engine.dispose()


@pytest.fixture
def peer(sound):
    ledger = open_ledger(sound)
    yield ledger
    ledger._engine.dispose()


def test_nothing_is_found_in_a_ledger_that_nobody_has_touched(ledger):
    before = rows(ledger, *tables.metadata.tables)

    assert whole_round(ledger) == []
    assert rows(ledger, *tables.metadata.tables) == before


CELLS = [
    (table, column)
    for table in ("claims", "numbers", "passed", "head")
    for column in tables.metadata.tables[table].c.keys()  # noqa: SIM118
    if column not in {"identity", "scheme", "id"}
]
TEXTS = st.none() | st.sampled_from(
    [*IMAGES, image(9), "x", "ari", "", ADOPTER.upper(), TWO.upper()]
)
NUMBERS = st.one_of(
    st.none(),
    st.integers(-1, 20),
    st.integers(0, 2**61),
    st.integers(START - 5, START + 30),
)


@st.composite
def edits(draw):
    """Choose a row to delete, or a cell to change."""
    row = draw(st.integers(0, 20))
    if draw(st.booleans()):
        return (
            draw(st.sampled_from([*tables.metadata.tables])),
            row,
            None,
            None,
        )
    table, column = draw(st.sampled_from(CELLS))
    text = column in {"image", "spelling", "kind", "wish_image"}
    return table, row, column, draw(TEXTS if text else NUMBERS)


def spoil(path, table, row, column, value):
    with closing(sqlite3.connect(path)) as connection, connection:
        ids = [r for (r,) in connection.execute(f"SELECT rowid FROM {table}")]
        if not ids:
            return
        at = ids[row % len(ids)]
        if column is None:
            connection.execute(f"DELETE FROM {table} WHERE rowid=?", [at])
            return
        with suppress(sqlite3.IntegrityError):  # the database refuses it
            connection.execute(
                f"UPDATE {table} SET {column}=? WHERE rowid=?", [value, at]
            )


@settings(max_examples=150)
@given(edits())
def test_any_cell_that_is_changed_comes_back(sound, change):
    with TemporaryDirectory() as directory:
        path = Path(directory) / "ledger"
        copyfile(sound, path)
        spoil(path, *change)
        ledger, peer = open_ledger(path), open_ledger(sound)
        whole_round(ledger)
        assert whole_round(ledger) == []
        assert state(ledger)[1] == state(peer)[1]

        pull(ledger, peer)

        assert state(ledger) == state(peer)
        assert whole_round(ledger) == []
        ledger._engine.dispose()
        peer._engine.dispose()


@pytest.mark.parametrize("table", tables.metadata.tables)
def test_a_table_that_is_emptied_stops_nothing(sound, tmp_path, table):
    """What it knew is made anew, or was nobody's to keep."""
    copyfile(sound, tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "copy")) as connection, connection:
        connection.execute(f"DELETE FROM {table}")
    copyfile(sound, tmp_path / "peer")
    ledger, peer = (open_ledger(tmp_path / n) for n in ("copy", "peer"))
    memory = Memory(path=tmp_path / "memory")

    memory.check(ledger)
    whole_round(ledger)
    pull(ledger, peer)
    pull(ledger, peer)
    new = Sighting(image=image(77), uuid=image(77))

    assert ledger.see([new]).news == 1
    assert whole_round(ledger) == []
    peer.record(ledger.claims([image(77)]).values())
    assert state(ledger)[1] == state(peer)[1]
    with ledger.cursors.reader("cell1") as reader:
        upto, _ = reader.numbers(1000)
        assert reader.changed(upto)
    ledger._engine.dispose()
    peer._engine.dispose()


def test_a_head_row_that_is_gone_is_said_in_one_line(ledger):
    with ledger._engine.begin() as connection:
        connection.execute(tables.head.delete())
    new = Sighting(image=image(77), uuid=image(77))
    for touch in (
        ledger.head,
        lambda: ledger.see([new]),
        lambda: ledger.record([claim_of(new, None, START)]),
        lambda: ledger.print_before(START),
        lambda: ledger.cursors.is_behind("cell1"),
        lambda: ledger.cursors.reader("cell1").__enter__(),
    ):
        with pytest.raises(NoHead, match="verify --ledger --repair"):
            touch()

    assert ledger.copies.mend_totals(dry_run=True)
    with pytest.raises(NoHead):
        ledger.head()
    assert "the head row was gone" in ledger.copies.mend_totals()[0]
    assert ledger.see([new]).news == 1


def test_of_two_head_rows_one_is_made(ledger, peer):
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO head SELECT 2, identity, scheme, 1, 1, 1, 1 FROM head"
        )

    assert not ledger.copies.look_at_totals()
    whole_round(ledger)

    assert state(ledger) == state(peer)
