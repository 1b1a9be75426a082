"""What regions have stated last, and who contradicts what it has signed."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.journal import plain
from ec2map_sync.ledger.part import Part, note
from ec2map_sync.protocol.agreements import Terms
from ec2map_sync.protocol.notes import Note
from ec2map_sync.protocol.statements import Position, Statement
from ec2map_sync.sql.errors import again

_s = tables.statements.c


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownStatement:
    """The newest statement of a region."""

    region: str
    statement: Note
    note: Note
    """What it is about."""
    refused: str | None = None
    """In what the region has contradicted it since."""

    @property
    def position(self) -> Position:
        """What it says."""
        return Position(
            statement=Statement.parse(self.statement.text),
            terms=Terms.parse(self.note.text),
        )


class Statements(Part):
    """The newest statement of each region."""

    def of(self, region: str) -> KnownStatement | None:
        """Returns the newest one that was not refused."""
        with self._engine.connect() as connection:
            return statement_of(connection, region)

    @again
    def put(self, region: str, statement: Note, about: Note) -> None:
        """Keeps the newest statement of a region, and what it is about."""
        values = {
            "statement": str(statement).encode(),
            "note": str(about).encode(),
            "refused": None,
        }
        key = {"region": region}
        with self._writing.begin() as connection:
            note(connection, tables.statements, key, values)

    def refuse(self, region: str, why: str) -> None:
        """Remembers in what a region contradicts its newest one."""
        there = sa.update(tables.statements).where(_s.region == region)
        self._write(there.values(refused=plain(why)[:500]))

    def forget(self, region: str) -> None:
        """Lets a region's feed begin anew with what it states next."""
        gone = sa.delete(tables.statements).where(_s.region == region)
        self._write(gone)

    def refused(self, regions: Iterable[str]) -> dict[str, str]:
        """Returns those who contradict what they have signed, and in what."""
        found = sa.select(_s.region, _s.refused).where(_s.refused.is_not(None))
        return dict(self._rows_in(found, _s.region, regions))


def statement_of(connection: Connection, region: str) -> KnownStatement | None:
    """Returns the newest statement of a region that was not refused."""
    mine = sa.select(tables.statements).where(_s.region == region)
    row = connection.execute(mine).one_or_none()
    if row is None:
        return None
    return KnownStatement(
        region=row.region,
        statement=Note.parse(bytes(row.statement)),
        note=Note.parse(bytes(row.note)),
        refused=row.refused,
    )
