"""What servers answer, by their own codes, and what that means to us."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

CANNOT_WRITE = {
    1290,  # --read-only, or another option
    1836,  # read-only mode
    1036,  # a table that may only be read: MariaDB's --innodb-read-only
    1792,  # a transaction that may only read
    1047,  # a node that has left its Galera cluster
    1180,  # a commit that failed, as it does while a node leaves
    3100,  # a member that has left its group (MySQL's Group Replication)
    3032,  # MySQL: offline mode
    1053,  # shutting down
    1927,  # killed
    4031,  # MySQL: ended, since it has rested too long
    "25006",  # PostgreSQL: a standby, or set to read only
}
"""Errors of servers that answer, whose work another one may do by now."""

DEADLOCK = {
    1213,  # also of a commit, if another node of a Galera cluster was first
    3101,  # the same, of MySQL's Group Replication
    1020,  # MariaDB with innodb_snapshot_isolation, on by default from 11.8 on
    "40P01",
    "40001",
}
"""Two transactions were in each other's way; this one may be tried again."""

NOT_AVAILABLE = {1205, "55P03"}
"""A lock was waited for in vain."""


_ATTEMPTS = 16
_FIRST_PAUSE = 0.005
_LONGEST_WAIT = 50
"""Seconds for a lock in all; so long MySQL by itself lets one wait for it."""

P = ParamSpec("P")
T = TypeVar("T")


def again(transaction: Callable[P, T]) -> Callable[P, T]:
    """Makes it be done again where another transaction was in its way.

    Nothing of it is done then, and the other one is. On a Galera cluster,
    that is how two writers on different nodes take turns. So it is where a
    lock was waited for: each wait for it is short.
    """

    @wraps(transaction)
    def attempts(*args: P.args, **kwargs: P.kwargs) -> T:
        end = time.monotonic() + _LONGEST_WAIT
        for n in range(1, _ATTEMPTS):
            late = time.monotonic() > end
            try:
                return transaction(*args, **kwargs)
            except DBAPIError as error:
                wanted = DEADLOCK if late else DEADLOCK | NOT_AVAILABLE
                if not codes(error.orig) & wanted:
                    raise
            time.sleep(random.uniform(0, min(_FIRST_PAUSE * 2**n, 1)))
        return transaction(*args, **kwargs)

    return attempts


def codes(error: BaseException | None) -> set[object]:
    """Returns the codes of a driver's error: MySQL's number, an SQLSTATE."""
    if error is None:
        return set()
    return {getattr(error, "sqlstate", None), *error.args[:1]} - {None}
