import pytest
import sqlalchemy as sa

from ec2map_sync.sql.statements import (
    IN_LIMIT,
    batched,
    delete_in,
    insert,
    select_in,
)

words = sa.Table(
    "words",
    sa.MetaData(),
    sa.Column("word", sa.String(80), primary_key=True),
    sa.Column("size", sa.Integer),
)
HOSTILE = ["it's", 'say "no"', "a\\", "a\\'", "x' OR '1'='1", "%s", "ä", ":a"]


@pytest.fixture
def connection():
    engine = sa.create_engine("sqlite://")
    with engine.connect() as opened:
        words.create(opened)
        yield opened
    engine.dispose()


def written(connection):
    return dict(connection.execute(sa.select(words)).fetchall())


def test_rows_of_plain_values_are_written_as_they_are(connection):
    insert(connection, list(words.c), [("a-1", 3), ("b), (c", None)])

    assert written(connection) == {"a-1": 3, "b), (c": None}


@pytest.mark.parametrize("word", [w for w in HOSTILE if w != ":a"])
def test_text_that_sql_reads_otherwise_is_never_written(connection, word):
    with pytest.raises(ValueError, match="not a row of words"):
        insert(connection, list(words.c), [("fine", 1), (word, 2)])

    assert written(connection) == {}


@pytest.mark.parametrize("word", HOSTILE)
def test_any_text_is_looked_up_and_deleted_as_it_is(connection, word):
    for text in ("plain", word):
        connection.execute(sa.insert(words).values(word=text, size=1))

    found = select_in(connection, sa.select(words), words.c.word, [word])
    assert [row.word for row in found] == [word]
    delete_in(connection, words.c.word, ["nobody", word])
    assert written(connection) == {"plain": 1}


def test_more_rows_than_one_statement_takes_are_cut(connection):
    many = IN_LIMIT * 2 + 1

    insert(connection, list(words.c), ((f"w{n}", n) for n in range(many)))

    names = [f"w{n}" for n in range(many)]
    found = select_in(connection, sa.select(words), words.c.word, names)
    assert sorted(row.size for row in found) == list(range(many))
    assert [len(some) for some in batched(names)] == [IN_LIMIT, IN_LIMIT, 1]
