"""Values as operators write and read them."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ec2map_sync.claims import Stamp
from ec2map_sync.ec2id import image_key, parse_id
from ec2map_sync.times import iso, time_of


def moment(stamp: Stamp | None) -> datetime | None:
    """Give a stamp as a time; None stays None."""
    return None if stamp is None else time_of(stamp)


def parse_name(text: str) -> str | int:
    """Read an image's UUID (its key) or an EC2 id (its number).

    :raises BadId: it is neither.
    """
    if re.match(r"a[mkr]i-", text.lower()):
        return parse_id(text)[1]
    return image_key(text)


def present(value: Any, *, machine: bool) -> Any:
    """Give a value as a table shows it, or as a program reads it.

    Times are UTC; a program gets their microseconds too.
    """
    match value:
        case datetime():
            return iso(value, exact=machine)
        case float():
            return round(value, 1)
        case None:
            return None if machine else ""
        case Mapping() if machine:
            return {k: present(v, machine=True) for k, v in value.items()}
        case Mapping():
            return "\n".join(
                f"{k} {present(v, machine=False)}".rstrip()
                for k, v in value.items()
            )
    return value
