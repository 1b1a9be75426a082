"""Statements of people's: images as text, however a ledger holds them."""

import re

from ec2map_sync.sql.images import image_of

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LITERAL = re.compile(rf"(?<!spelling=)'({_UUID})'")
SIZE = 16
_PACKED = re.compile(r"\b(UPDATE|FROM) (claims|numbers)\b")


def written(statement: str, dialect: str) -> str:
    """Give a statement as a kind of database takes it."""
    if dialect not in {"mysql", "mariadb"} or not _PACKED.search(statement):
        return statement
    return _LITERAL.sub(
        lambda found: f"x'{found[1].replace('-', '')}'", statement
    )


def read(value: object) -> object:
    """Give a value as people read it."""
    if isinstance(value, bytes) and len(value) == SIZE:
        return image_of(value)
    return value
