"""The ledger's schema from every revision on, with data, everywhere."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from commands import SmallRegion
from frozen import FOLDER, dump, frozen, load

from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.rules.claims import Claim, Sighting
from ec2map_sync.rules.ec2id import LAST_IMAGE, Scheme
from ec2map_sync.sql.database import create_engine, parse_url

SCHEME = Scheme(b"tests")
REVISIONS = schema.revisions()


@pytest.fixture
def engine(database):
    engine = create_engine(parse_url(database, "test"))
    yield engine
    engine.dispose()


def kept(old, new):
    """Give the old rows less what is no longer there, and the new ones so.

    In one order: a table's key may be another one now.
    """
    return {
        name: (
            in_order({c: row[c] for c in row if c in now[0]} for row in rows),
            in_order({c: row[c] for c in rows[0] if c in row} for row in now),
        )
        for name, rows in old.items()
        if (now := new.get(name))
    }


def in_order(rows):
    return sorted(rows, key=lambda row: repr(sorted(row.items())))


def test_no_revision_comes_without_data_of_its_time():
    """See CONTRIBUTING.md: a new revision needs a new file."""
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
def test_frozen_ledgers_have_something_in_every_table(revision):
    rows = frozen(revision)

    assert [name for name, some in rows.items() if not some] == []
    if revision == REVISIONS[-1]:
        assert rows.keys() == tables.metadata.tables.keys()


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_ledger_of_any_revision_is_upgraded_with_its_data(engine, revision):
    schema.upgrade(engine, revision)
    with engine.begin() as connection:
        load(connection, frozen(revision))

    schema.upgrade(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []
        rows = kept(frozen(revision), dump(connection))
    assert rows.keys() >= {"claims", "numbers", "moves", "quarantine"}
    for name, (before, after) in rows.items():
        assert after == before, name


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgraded_ledger_goes_on_where_it_was(engine, revision):
    schema.upgrade(engine, revision)
    with engine.begin() as connection:
        load(connection, frozen(revision))
    schema.upgrade(engine)
    ledger = Ledger(engine, SCHEME)
    before = ledger.head()
    known = [row["image"] for row in frozen(revision)["claims"]]
    mappings = {i: ledger.queries.by_image(i).number for i in known}

    again = ledger.record(
        Claim(claimed_at=row["claimed_at"], image=row["image"])
        for row in frozen(revision)["claims"]
    )
    new = ledger.see([Sighting(image=LAST_IMAGE, uuid=LAST_IMAGE)])

    assert (again.news, new.news) == (0, 1)
    assert new.revision == before.revision + 1
    assert {i: ledger.queries.by_image(i).number for i in known} == mappings
    assert len(ledger.queries.moves(known)) == 1
    with ledger.cursors.reader("nova:cell1") as reader:
        assert reader.revision == 5
        assert reader.numbers(100) == (new.revision, False)
        numbers = [n.number for n in reader.changed(new.revision)]
    assert ledger.queries.by_image(LAST_IMAGE).number in numbers


@pytest.mark.parametrize("done", range(1, 4))
def test_an_upgrade_that_was_cut_short_can_be_repeated(engine, done):
    """MariaDB commits each change by itself."""
    schema.upgrade(engine, "0001")
    with engine.begin() as connection:
        for change in CHANGES[:done]:
            connection.exec_driver_sql(change)
        if done > len(CHANGES):
            tables.quarantine_dropped.create(connection)

    schema.upgrade(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []


CHANGES = [
    "ALTER TABLE quarantine ADD COLUMN size INTEGER DEFAULT '0' NOT NULL",
    "CREATE INDEX quarantine_by_source ON quarantine (source, id)",
]
"""What 0002 does first; then it makes a table."""


CUT_SHORT = {
    "before anything was copied": [
        "ALTER TABLE claims RENAME TO claims_before",
    ],
    "with a part of the claims": [
        "ALTER TABLE claims RENAME TO claims_before",
        "CREATE TABLE claims (image INTEGER)",
        "INSERT INTO claims VALUES (1)",
    ],
    "among the numbers": [
        "ALTER TABLE numbers RENAME TO numbers_before",
        "CREATE TABLE numbers (number INTEGER)",
    ],
}
"""States in which what makes images bytes may be killed."""


@pytest.mark.parametrize("state", CUT_SHORT)
def test_images_are_made_bytes_wherever_that_was_cut_short(engine, state):
    old = frozen("0011")
    schema.upgrade(engine, "0011")
    with engine.begin() as connection:
        load(connection, old)
        for change in CUT_SHORT[state]:
            connection.exec_driver_sql(change)

    schema.upgrade(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []
        new = dump(connection)
    for name, (before, after) in kept(old, new).items():
        assert after == before, name
    assert new["own_claims"] == [
        {"revision": row["own_revision"], "image": row["image"]}
        for row in old["claims"]
        if row["own_revision"]
    ]


def test_an_image_that_is_none_is_left_and_the_totals_put_right(engine):
    """Somebody has written it by hand, where keys were text."""
    if engine.dialect.name == "sqlite":
        pytest.skip("there, they still are")
    schema.upgrade(engine, "0011")
    with engine.begin() as connection:
        load(connection, frozen("0011"))
        connection.exec_driver_sql(
            "UPDATE claims SET image = 'x' WHERE number = 460921932"
        )

    schema.upgrade(engine)

    ledger = Ledger(engine, SCHEME)
    count = len(frozen("0011")["claims"])
    assert not ledger.copies.look_at_totals()
    assert ledger.copies.mend_totals() == [f"total was that of {count} claims"]
    assert ledger.head().total.count == count - 1


@pytest.mark.parametrize("command", [["db", "upgrade"], ["list"]])
def test_a_ledger_of_a_newer_release_is_one_line(tmp_path, command):
    region = SmallRegion(tmp_path)
    region.sql("ledger", "UPDATE alembic_version SET version_num = '9999'")

    done = region.run(*command, code=2)

    assert "9999, which this release does not know" in done.stderr
    assert "install that one" in done.stderr
    assert done.stderr.count("\n") == 1
