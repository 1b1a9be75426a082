"""Statements about many rows: few round trips, and little work in Python.

PyMySQL escapes parameters one by one, in Python, which takes longer than all
else. So values that read the same in Python and in SQL are written into the
statement: numbers, UUIDs, names. Any other text stays a parameter.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.sql.images import ImageKey, in_statement, keys_in_statement

IN_LIMIT = 2000
"""Values in one IN (…): long lists are cut for the server's parser."""

_PLAIN = re.compile(r"[\w ,:()'-]*", re.ASCII)

T = TypeVar("T")


class _Plain(sa.types.UserDefinedType[Sequence[Any]]):
    """Values that stand in a statement as they are, between parentheses.

    SQLAlchemy would write them down one by one.
    """

    cache_ok = True

    def literal_processor(self, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        """Writes a list."""
        return lambda values: f"({repr(values)[1:-1]})"


class _PlainKeys(_Plain):
    """The same of images, where they may be bytes."""

    cache_ok = True

    def literal_processor(self, dialect: sa.Dialect) -> Any:
        """Writes a list."""
        write = super().literal_processor(dialect)
        return lambda values: (
            write(keys)
            if (keys := keys_in_statement(values, dialect))
            else "(NULL)"
        )


def batched(values: Iterable[T], limit: int = IN_LIMIT) -> Iterator[list[T]]:
    """Cuts values into lists of at most ``limit``."""
    rest = iter(values)
    while some := list(islice(rest, limit)):
        yield some


def select_in(
    connection: Connection,
    statement: sa.Select[Any],
    column: sa.Column[Any],
    values: Iterable[Any],
) -> Iterable[Any]:
    """Runs a statement for the rows whose column is among the values."""
    for some in batched(values):
        yield from connection.execute(statement.where(among(column, some)))


def delete_in(
    connection: Connection, column: sa.Column[Any], values: Iterable[Any]
) -> None:
    """Deletes the rows whose column is among the values."""
    for some in batched(values):
        connection.execute(sa.delete(column.table).where(among(column, some)))


def insert(
    connection: Connection,
    columns: Sequence[sa.Column[Any]],
    rows: Iterable[tuple[Any, ...]],
) -> None:
    """Inserts rows: values for some columns of a table.

    :raises ValueError: a value is neither a number, None nor plain text.
    """
    for statement in inserts(connection.dialect, columns, rows):
        connection.exec_driver_sql(statement)


def insert_free(
    connection: Connection,
    columns: Sequence[sa.Column[Any]],
    rows: Iterable[tuple[Any, ...]],
) -> int:
    """Inserts the rows whose key nobody has; returns how many these are.

    :raises ValueError: as `insert`.
    """
    done = 0
    for statement in inserts(connection.dialect, columns, rows):
        if connection.dialect.name == "mysql":
            free = statement.replace("INSERT", "INSERT IGNORE", 1)
        else:
            free = f"{statement} ON CONFLICT DO NOTHING"
        done += connection.exec_driver_sql(free).rowcount
    return done


def inserts(
    dialect: sa.Dialect,
    columns: Sequence[sa.Column[Any]],
    rows: Iterable[tuple[Any, ...]],
) -> Iterator[str]:
    """Writes what `insert` sends."""
    table = columns[0].table.name
    quote = dialect.identifier_preparer.quote
    names = ", ".join(quote(column.name) for column in columns)
    for some in batched(rows):
        values = repr(in_statement(some, columns, dialect))[1:-1]
        if not _PLAIN.fullmatch(values):
            raise ValueError(f"not a row of {table}: {values[:200]}")
        begin = f"INSERT INTO {table} ({names}) VALUES "  # noqa: S608
        yield begin + values.replace("None", "NULL")


def among(
    column: sa.Column[Any], values: Sequence[Any]
) -> sa.ColumnElement[bool]:
    """Returns, in SQL, whether a column is among at most IN_LIMIT values."""
    if _PLAIN.fullmatch(repr(values)[1:-1]):
        plain = _PlainKeys() if isinstance(column.type, ImageKey) else _Plain()
        there = sa.bindparam(
            None, values, type_=plain, unique=True, literal_execute=True
        )
        return column.op("IN", is_comparison=True)(there)
    return column.in_(values)
