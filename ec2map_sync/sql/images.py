"""How databases hold images: sixteen bytes where they can, and text to us.

Each of InnoDB's indexes repeats the primary key, so that a UUID's 36
characters would be most of a ledger.
"""

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ec2map_sync.rules.ec2id import FIRST_IMAGE, LAST_IMAGE, cut_short

_KEY = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LETTERS = re.compile("[0-9a-f-]*")
_MYSQL = frozenset({"mysql", "mariadb"})
_PARTS = ((1, 4), (5, 2), (7, 2), (9, 2), (11, 6))
"""Where the parts of a UUID are in its bytes, and how many each has."""


class ImageKey(sa.types.TypeDecorator[str]):
    """An image's key; in every database in the order that its text has."""

    impl = sa.String(36)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Returns what the database has for it; SQLite has text."""
        if dialect.name in _MYSQL:
            return dialect.type_descriptor(mysql.BINARY(16))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.Uuid(as_uuid=False))
        return self.impl_instance

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Writes a key, or the first one that begins so."""
        if value is None:
            return None
        text = value + FIRST_IMAGE[len(value) :]
        if dialect.name == "sqlite":
            return text
        if not _KEY.fullmatch(text):
            return None  # nothing equals what is no image
        return _packed(text) if dialect.name in _MYSQL else text

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Reads a key."""
        if value is None or dialect.name not in _MYSQL:
            return value
        return image_of(value)


def image_of(packed: bytes) -> str:
    """Returns the key that sixteen bytes are."""
    digits = packed.hex()
    return (
        f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}"
        f"-{digits[16:20]}-{digits[20:]}"
    )


def _packed(image: str) -> bytes:
    return bytes.fromhex(image.replace("-", ""))


class _Hexadecimal(str):
    """A key as MySQL reads it in a statement."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"x'{self.replace('-', '')}'"


def keys_in_statement(
    values: Sequence[str], dialect: Dialect
) -> Sequence[str]:
    """Returns keys that a statement may hold, each as `repr` has it.

    Without what is none, as a row of a sink may say.
    """
    if dialect.name == "sqlite":
        return values
    keys = list(filter(_KEY.fullmatch, values))
    return list(map(_Hexadecimal, keys)) if dialect.name in _MYSQL else keys


def in_statement(
    rows: Sequence[tuple[Any, ...]],
    columns: Sequence[sa.ColumnElement[Any]],
    dialect: Dialect,
) -> Sequence[tuple[Any, ...]]:
    """Returns rows that a statement may hold, each value as `repr` has it."""
    if dialect.name not in _MYSQL:
        return rows
    for place, column in enumerate(columns):
        if isinstance(column.type, ImageKey):
            rows = [
                (
                    *row[:place],
                    None if row[place] is None else _Hexadecimal(row[place]),
                    *row[place + 1 :],
                )
                for row in rows
            ]
    return rows


def below(image: sa.ColumnElement[str], text: str) -> sa.ColumnElement[bool]:
    """Returns, in SQL, whether a key sorts before a text."""
    if not _LETTERS.fullmatch(text):
        # Somebody has written it by hand where keys are text.
        return image < text
    key, beyond = cut_short(text)
    return image <= key if beyond else image < key


def begins_with(
    image: sa.ColumnElement[str], text: str
) -> sa.ColumnElement[bool]:
    """Returns, in SQL, whether a key begins with a text."""
    last = text + LAST_IMAGE[len(text) :]
    return sa.and_(image >= text, image <= last)


def text_of(image: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Returns, in SQL, the text of a key."""
    return _TextOf(image)


def key_of(text: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Returns, in SQL, the key of a text."""
    return _KeyOf(text)


class _TextOf(FunctionElement[str]):
    type = sa.String()
    inherit_cache = True
    name = "ec2map_text_of"


class _KeyOf(FunctionElement[str]):
    type = ImageKey()
    inherit_cache = True
    name = "ec2map_key_of"


@compiles(_TextOf, "mysql")
@compiles(_TextOf, "mariadb")
def _text_of_bytes(
    element: _TextOf, compiler: SQLCompiler, **kwargs: Any
) -> str:
    key = compiler.process(element.clauses, **kwargs)
    parts = (f"HEX(SUBSTR({key}, {at}, {size}))" for at, size in _PARTS)
    return f"LOWER(CONCAT_WS('-', {', '.join(parts)}))"


@compiles(_TextOf, "postgresql")
def _text_of_uuid(
    element: _TextOf, compiler: SQLCompiler, **kwargs: Any
) -> str:
    return f"CAST({compiler.process(element.clauses, **kwargs)} AS text)"


@compiles(_KeyOf, "mysql")
@compiles(_KeyOf, "mariadb")
def _bytes_of_text(
    element: _KeyOf, compiler: SQLCompiler, **kwargs: Any
) -> str:
    text = compiler.process(element.clauses, **kwargs)
    return f"UNHEX(REPLACE({text}, '-', ''))"


@compiles(_KeyOf, "postgresql")
def _uuid_of_text(
    element: _KeyOf, compiler: SQLCompiler, **kwargs: Any
) -> str:
    return f"CAST({compiler.process(element.clauses, **kwargs)} AS uuid)"


@compiles(_TextOf, "sqlite")
@compiles(_KeyOf, "sqlite")
def _the_same(
    element: FunctionElement[str], compiler: SQLCompiler, **kwargs: Any
) -> str:
    return compiler.process(element.clauses, **kwargs)


def read_as_text(engine: Engine) -> None:
    """Lets PostgreSQL's driver read keys as it reads texts.

    What it makes of them otherwise takes longer than to read the row.
    """
    from psycopg.types.string import TextLoader  # noqa: PLC0415

    @sa.event.listens_for(engine, "connect")
    def tell(connection: Any, _record: Any) -> None:
        connection.adapters.register_loader("uuid", TextLoader)
