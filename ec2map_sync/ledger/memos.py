"""Which of Nova's memos are to be deleted: noted before rows change."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.part import Part
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.sql.errors import again
from ec2map_sync.sql.statements import batched


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """That Nova may remember another id of an image than its row has."""

    id: int
    image: str
    """As the row spells it."""
    at: Stamp


class Memos(Part):
    """Notes that survive a crash between a row's commit and the deletion."""

    @again
    def note(self, sink: str, images: Iterable[str]) -> None:
        """Notes images whose rows are about to change."""
        now, m = self._clock(), tables.memos
        values = [{"sink": sink, "image": i, "at": now} for i in set(images)]
        if values:
            with self._writing.begin() as connection:
                for some in batched(values):
                    connection.execute(sa.insert(m), some)

    def waiting(self, sink: str) -> bool:
        """Returns whether anything is noted."""
        m = tables.memos.c
        some = sa.select(m.id).where(m.sink == sink).limit(1)
        return self._scalar(some) is not None

    def noted(self, sink: str, limit: int) -> list[Memo]:
        """Returns the first notes."""
        m = tables.memos.c
        statement = (
            sa.select(m.id, m.image, m.at)
            .where(m.sink == sink)
            .order_by(m.id)
            .limit(limit)
        )
        return [Memo(**row._mapping) for row in self._rows(statement)]

    def drop(self, memos: Collection[Memo]) -> None:
        """Forgets notes: these, and not what was noted since."""
        m = tables.memos
        for some in batched(one.id for one in memos):
            self._write(sa.delete(m).where(m.c.id.in_(some)))
