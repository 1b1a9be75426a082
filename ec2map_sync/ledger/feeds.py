"""The feeds: what has changed since a revision, and who has come how far."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.claims import Claim
from ec2map_sync.ec2id import Kind
from ec2map_sync.ledger import tables
from ec2map_sync.ledger.recording import claim_of_row
from ec2map_sync.settle import Numbered

NUMBERED = sa.select(
    tables.numbers.c.number,
    tables.claims.c.image,
    tables.claims.c.spelling,
    tables.claims.c.kind,
    tables.numbers.c.wish_wanted,
).outerjoin(
    tables.claims,
    # A number that is only reserved is nobody's mapping.
    sa.and_(
        tables.claims.c.image == tables.numbers.c.wish_image,
        tables.claims.c.number == tables.numbers.c.number,
    ),
)
"""What a sink should hold under numbers; `numbered_of` reads a row."""


class Reader:
    """A cursor over the feeds, held by one reader at a time."""

    def __init__(
        self, engine: Engine, connection: Connection, name: str, at: int
    ) -> None:
        self._engine = engine
        self._connection = connection
        self._name = name
        self.revision = at

    def own_claims(self, limit: int) -> tuple[list[Claim], int]:
        """Give about ``limit`` claims made here since, and up to when."""
        c = tables.claims
        since, own = self.revision, c.c.own_revision
        with self._engine.connect() as connection:
            upto, _ = _until(connection, own, since, limit)
            rows = connection.execute(
                sa.select(c).where(own > since, own <= upto)
            )
            return [claim_of_row(row) for row in rows], upto

    def numbers(self, limit: int) -> tuple[int, bool]:
        """Tell until when about ``limit`` numbers have changed since.

        And whether there may be more. `changed` gives them.
        """
        revision = tables.numbers.c.revision
        with self._engine.connect() as connection:
            return _until(connection, revision, self.revision, limit)

    def advance(self, revision: int) -> None:
        """Remember that everything up to a revision has taken effect."""
        cursors = tables.cursors
        self._connection.execute(
            sa.update(cursors)
            .where(cursors.c.name == self._name)
            .values(revision=revision)
        )
        self.revision = revision


def changed(engine: Engine, after: int, upto: int) -> list[Numbered]:
    """Tell what is to be held under numbers changed after a revision.

    Those whose last change is a revision up to ``upto``.
    """
    revision = tables.numbers.c.revision
    statement = NUMBERED.where(revision > after, revision <= upto)
    with engine.connect() as connection:
        return [numbered_of(row) for row in connection.execute(statement)]


def numbered_of(row: Any) -> Numbered:
    """Read a row of `NUMBERED`."""
    number, image, spelling, kind, wanted = row
    return Numbered(
        number=number,
        uuid=spelling or image,
        kind=Kind(kind) if kind else None,
        adopted=bool(wanted),
    )


def _until(
    connection: Connection, revision: sa.Column[Any], after: int, limit: int
) -> tuple[int, bool]:
    """Tell up to which revision about ``limit`` rows of a feed lie.

    Readers take whole revisions. Where there are not as many rows, that is
    the newest one; and False, for there are no more.
    """
    full = (
        sa.select(revision)
        .where(revision > after)
        .order_by(revision)
        .offset(limit - 1)
        .limit(1)
    )
    # In this order: what comes between the two is not skipped.
    newest = connection.scalar(sa.select(tables.head.c.revision))
    upto = connection.scalar(full)
    return upto or newest or after, upto is not None
