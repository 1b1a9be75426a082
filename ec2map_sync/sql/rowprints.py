"""Prints of rows (number, UUID), by parts, summed up inside the databases."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ec2map_sync.rules.claims import Print

PART_BITS = 20
"""A million numbers are a part: about a thousand parts in the band, and
about a thousand rows in a part where there are a million images."""

_DIGITS = 10
"""Hexadecimal ones of a hash, so that the sum of a part fits 63 bits."""

Prints = dict[int, Print]
"""By part: of a number, that is ``number >> PART_BITS``."""


class _RowHash(FunctionElement[int]):
    """The same in every database: a ledger and a sink may be of two kinds.

    SHA-256, since there is no faster one that all of them have.
    """

    type = sa.BigInteger()
    inherit_cache = True
    name = "ec2map_row_hash"


@compiles(_RowHash, "mysql")
@compiles(_RowHash, "mariadb")
def _mysql(element: _RowHash, compiler: SQLCompiler, **kwargs: Any) -> str:
    number, uuid = (compiler.process(c, **kwargs) for c in element.clauses)
    hashed = f"SHA2(CONCAT({number}, ':', {uuid}), 256)"
    return f"CAST(CONV(LEFT({hashed}, {_DIGITS}), 16, 10) AS UNSIGNED)"


@compiles(_RowHash, "postgresql")
def _postgresql(
    element: _RowHash, compiler: SQLCompiler, **kwargs: Any
) -> str:
    number, uuid = (compiler.process(c, **kwargs) for c in element.clauses)
    hashed = f"sha256(convert_to({number} || ':' || {uuid}, 'UTF8'))"
    digits = f"left(encode({hashed}, 'hex'), {_DIGITS})"
    return f"('x' || {digits})::bit({4 * _DIGITS})::bigint"


@compiles(_RowHash, "sqlite")
def _sqlite(element: _RowHash, compiler: SQLCompiler, **kwargs: Any) -> str:
    number, uuid = (compiler.process(c, **kwargs) for c in element.clauses)
    return f"{_RowHash.name}({number}, {uuid})"


def _hash(number: int, uuid: str) -> int:
    """Does it for SQLite, which has no such function."""
    text = f"{number}:{uuid}".encode()
    return int(sha256(text).hexdigest()[:_DIGITS], 16)


def add_up(
    engine: Engine,
    number: sa.ColumnElement[int],
    uuid: sa.ColumnElement[str],
    slices: Sequence[sa.ColumnElement[bool]],
) -> Prints:
    """Returns the prints of a table's rows, one slice of it after another.

    In slices, because a statement that runs for minutes is given up.
    """
    part = number.bitwise_rshift(sa.literal_column(str(PART_BITS)))
    statement = sa.select(
        part.label("part"),
        sa.func.count(),
        sa.func.sum(_RowHash(number, uuid)),
    ).group_by(part)
    prints: Prints = {}
    with engine.connect() as connection:
        _prepare(connection)
        for condition in slices:
            rows = connection.execute(statement.where(condition))
            for where, count, total in rows:
                found = Print(int(count), int(total))
                known = prints.get(where)
                prints[where] = found if known is None else known + found
    return prints


def _prepare(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.create_function(_RowHash.name, 2, _hash, deterministic=True)
