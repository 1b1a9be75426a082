"""An outage in one line: who does not answer, and what was said last."""

import errno

from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.broker import link
from ec2map_sync.rules.errors import Ec2MapError, one_line

OUTAGES: tuple[type[Exception], ...] = (
    SQLAlchemyError,
    Ec2MapError,
    *link.BROKEN,
)
"""What a part that does not answer raises."""

_OF_THIS_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE}
)
"""What no broker is to blame for: a full disk, too many open files."""

_CAUSES = {
    "sqlalchemy": "database",
    "amqp": "broker",
    "kombu": "broker",
    "oslo_messaging": "broker",
    "keystoneauth1": "glance",
    "openstack": "glance",
}
"""By the library whose exception it is."""


def describe(
    error: Exception, *, database: str | None = None, broker: str = ""
) -> str | None:
    """Returns an outage as one line; None for a mistake of ours.

    ``database`` and ``broker`` are what the line begins with, if it is one
    of those. A database says by itself which option it comes from, where its
    engine was made to.
    """
    if isinstance(error, Ec2MapError):
        return str(error)
    if isinstance(error, SQLAlchemyError):
        if database is None:
            notes = getattr(error, "__notes__", ["a database does not answer"])
            database = notes[0]
        return _joined(database, said(error))
    if isinstance(error, OSError) and (
        error.filename or error.errno in _OF_THIS_MACHINE
    ):
        return _joined(error.filename, error.strerror or "")
    text = link.describe(error)
    return text and _joined(broker, text)


def said(error: SQLAlchemyError) -> str:
    """Returns what a database answered as one line, without the statement."""
    return one_line(getattr(error, "orig", None) or error)


def cause_of(error: Exception) -> str:
    """Returns who has failed, in a word: for counting, not for people."""
    if isinstance(error, OSError):
        return "broker"  # databases, and Glance, have errors of their own
    library = type(error).__module__.partition(".")[0]
    return _CAUSES.get(library, "other")


def _joined(where: str | None, text: str) -> str:
    return f"{where}: {text}" if where else text
