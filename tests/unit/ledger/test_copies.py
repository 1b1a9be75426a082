"""A ledger that was changed by hand: found, put right, no number changed."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

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

from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.sql.database import create_engine, parse_url


def open_ledger(path):
    engine = create_engine(parse_url(f"sqlite:///{path}", "x"))
    return Ledger(engine, SCHEME, lambda: START)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "ledger"
    engine = create_engine(parse_url(f"sqlite:///{path}", "x"))
    schema.upgrade(engine)
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
    table, column = draw(st.sampled_from(CELLS))
    row = draw(st.integers(0, 20))
    if table != "head" and draw(st.booleans()):
        return table, row, None, None
    text = column in {"image", "spelling", "kind", "wish_image"}
    return table, row, column, draw(TEXTS if text else NUMBERS)


def spoil(path, table, row, column, value):
    with closing(sqlite3.connect(path)) as connection, connection:
        ids = [r for (r,) in connection.execute(f"SELECT rowid FROM {table}")]
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
