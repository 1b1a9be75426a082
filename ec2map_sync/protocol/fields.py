"""Fields of messages: numbers and stamps, as JSON may have them."""

from typing import Any

from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import BadMessage


def integer(value: Any, low: int, high: int, what: str) -> int:
    """Reads an integer from ``low`` on, below ``high``.

    :raises BadMessage: naming ``what``, if it is none.
    """
    # bool is an int to Python, and not to us.
    if type(value) is not int or not low <= value < high:
        raise BadMessage(f"{what} is {_short(value)}")
    return value


def _short(value: Any) -> str:
    """Writes what may be anything, without writing all of it."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    return ascii(value)[:40]


def stamp(value: Any, limit: Stamp, what: str) -> Stamp:
    """Reads a stamp below ``limit``.

    :raises BadMessage: naming ``what``, if it is none.
    """
    if type(value) is int and value >= limit:
        raise BadMessage(
            f"{what} {_short(value)} is more than 24 h ahead of our clock"
        )
    return integer(value, 1, limit, what)


def list_of(value: Any) -> list[Any]:
    """Reads a list.

    :raises TypeError: it is none.
    """
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value


def is_text(value: Any) -> bool:
    """Returns whether a value is text that every side writes the same way.

    JSON, and AMQP's tables, may hold halves of surrogate pairs, which no
    bytes stand for.
    """
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
