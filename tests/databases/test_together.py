"""Statements that go to a server together, and a transaction's last one."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ec2map_sync.ledger import tables
from ec2map_sync.sql.together import AND_END, Unsent, run

COLUMNS = [tables.cursors.c.name, tables.cursors.c.revision]
ROWS = sa.select(*COLUMNS)
ONE = "INSERT INTO cursors (name, revision) VALUES ('a', 1)"


def rows(engine):
    with engine.connect() as connection:
        return dict(map(tuple, connection.execute(ROWS)))


def test_what_waits_is_there_for_whoever_reads(engine):
    with engine.connect() as connection:
        unsent = Unsent(connection)
        unsent.insert(COLUMNS, [("a", 1)])
        unsent.insert(COLUMNS, [("b", 2)])

        found = dict(map(tuple, unsent.connection.execute(ROWS)))

    assert found == {"a": 1, "b": 2}
    assert rows(engine) == {}


def test_what_waits_is_written_by_a_commit(engine):
    with engine.connect() as connection:
        unsent = Unsent(connection)
        unsent.insert(COLUMNS, [("a", 1)])
        unsent.delete_in(COLUMNS[0], ["a"])
        unsent.insert(COLUMNS, [("a", 2)])

        unsent.commit("UPDATE cursors SET revision = 3")

    assert rows(engine) == {"a": 3}


def test_much_is_sent_in_parts(engine):
    many = [(f"{n:0100}", n) for n in range(6000)]

    with engine.connect() as connection:
        unsent = Unsent(connection)
        unsent.insert(COLUMNS, many)
        unsent.commit()

    assert rows(engine) == dict(many)


@pytest.mark.parametrize("place", range(3))
def test_if_one_fails_nothing_of_the_transaction_is_there(engine, place):
    others = [ONE.replace("'a'", f"'{name}'") for name in ("b", "c")]
    statements = [*others[:place], ONE, ONE, *others[place:]]

    with engine.connect() as connection:
        with pytest.raises(IntegrityError):
            run(connection, statements, last=True)
        connection.rollback()
        connection.commit()

    assert rows(engine) == {}


def test_the_last_statement_gives_what_it_found_and_others_may_follow(engine):
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.cursors), {"name": "a", "revision": 1}
        )

    with engine.connect() as connection:
        for _ in range(2):
            found = connection.execute(ROWS, execution_options=AND_END)
            assert list(map(tuple, found)) == [("a", 1)]
        connection.execute(sa.update(tables.cursors).values(revision=2))
        connection.rollback()
        connection.execute(sa.update(tables.cursors).values(revision=3))
        connection.commit()

    assert rows(engine) == {"a": 3}


def test_an_update_counts_what_it_finds_though_nothing_changes(engine):
    with engine.connect() as connection:
        run(connection, [ONE])
        same = sa.update(tables.cursors).values(revision=1)

        assert connection.execute(same).rowcount == 1
        assert (
            connection.execute(same, execution_options=AND_END).rowcount == 1
        )
