"""Values as operators write and read them."""

import argparse
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.stamps import iso, time_of

LARGEST = 2**63 - 1
"""What a database takes for an integer."""


class Unmeasured:
    """In the place of a figure that there should be and nobody knows."""


_DAY = 86_400


def moment(stamp: Stamp | None) -> datetime | None:
    """Returns a stamp as a time; None stays None."""
    return None if stamp is None else time_of(stamp)


def entry_id(text: str) -> int:
    """Reads the id of an entry in the ledger (for argparse)."""
    value = int(text)
    if not 0 < value <= LARGEST:
        raise ValueError(text)
    return value


def seconds(text: str) -> float:
    """Reads how long to wait between two looks (for argparse)."""
    value = float(text)
    if not 0 < value <= _DAY:
        raise argparse.ArgumentTypeError(
            f"{text}: it takes more than 0 seconds, and at most a day"
        )
    return value


def present(value: Any, *, machine: bool) -> Any:
    """Returns a value as a table shows it, or as a program reads it.

    Times are UTC; a program gets their microseconds too.
    """
    match value:
        case None | Unmeasured():
            word = "" if value is None else "unknown"
            return None if machine else word
        case datetime():
            return iso(value, exact=machine)
        case float():
            return round(value, 1)
        case Mapping() if machine:
            return {k: present(v, machine=True) for k, v in value.items()}
        case Mapping():
            return "\n".join(
                f"{k} {present(v, machine=False)}".rstrip()
                for k, v in value.items()
            )
    return value
