"""What servers answer, by their own codes, and what that means to us."""

CANNOT_WRITE = {
    1290,  # --read-only, or another option
    1836,  # --super-read-only
    1792,  # a transaction that may only read
    1047,  # a node that has left its Galera cluster
    1053,  # shutting down
    1927,  # killed
    "25006",  # PostgreSQL: a standby, or set to read only
}
"""Errors of servers that answer, whose work another one may do by now."""

DEADLOCK = {
    1213,  # also of a commit, if another node of a Galera cluster was first
    "40P01",
    "40001",
}
"""Two transactions were in each other's way; this one may be tried again."""

NOT_AVAILABLE = {1205, "55P03"}
"""A lock was waited for in vain."""


def codes(error: BaseException | None) -> set[object]:
    """Returns the codes of a driver's error: MySQL's number, an SQLSTATE."""
    if error is None:
        return set()
    return {getattr(error, "sqlstate", None), *error.args[:1]} - {None}
