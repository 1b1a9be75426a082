"""What a ledger remembers of its sinks: rows of ours, rows of others."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import tables
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.rows import Divergence, RowClass, SinkRow
from ec2map_sync.sql.database import WRITE
from ec2map_sync.sql.statements import batched, select_in


class Divergences:
    """Rows that are not as settled, and rows that only memory shows ours."""

    def __init__(self, engine: Engine, clock: Callable[[], Stamp]) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**WRITE)
        self._clock = clock

    def replace(
        self,
        sink: str,
        after: int,
        upto: int,
        found: Sequence[Divergence],
    ) -> int:
        """Note what a sink holds above ``after``, up to ``upto``.

        What was noted there before and is gone is forgotten; what an
        operator has chosen to keep stays kept. Gives how many are new.
        """
        d = tables.divergences
        window = (d.c.sink == sink, d.c.number > after, d.c.number <= upto)
        with self._writing.begin() as connection:
            rows = connection.execute(sa.select(d).where(*window)).all()
            before = {(row.number, row.image): row for row in rows}
            connection.execute(sa.delete(d).where(*window))
            now = self._clock()
            values = []
            for one in found:
                known = before.get((one.number, one.image))
                values.append(
                    {
                        "sink": sink,
                        "number": one.number,
                        "image": one.image,
                        "row_class": one.row_class.value,
                        "settled": one.settled,
                        "kept": bool(known and known.kept),
                        "found_at": known.found_at if known else now,
                    }
                )
            for some in batched(values):
                connection.execute(sa.insert(d), some)
        return sum((f.number, f.image) not in before for f in found)

    def found(
        self, images: Iterable[str] | None = None, *, kept: bool = True
    ) -> list[Divergence]:
        """Give what is noted, of all images or some; ``kept`` ones or not."""
        d = tables.divergences
        statement = sa.select(d).order_by(d.c.sink, d.c.number)
        if not kept:
            statement = statement.where(d.c.kept == sa.false())
        with self._engine.connect() as connection:
            rows: Iterable[Any] = (
                connection.execute(statement)
                if images is None
                else select_in(connection, statement, d.c.image, images)
            )
            return [
                Divergence(
                    sink=row.sink,
                    number=row.number,
                    image=row.image,
                    row_class=RowClass(row.row_class),
                    settled=row.settled,
                    kept=row.kept,
                )
                for row in rows
            ]

    def counts(self) -> dict[tuple[str, str, bool], int]:
        """Count what is noted, by sink, class and whether it is kept."""
        d = tables.divergences
        key = (d.c.sink, d.c.row_class, d.c.kept)
        statement = sa.select(*key, sa.func.count()).group_by(*key)
        with self._engine.connect() as connection:
            rows = connection.execute(statement)
            return {(s, name, kept): n for s, name, kept, n in rows}

    def keep(self, found: Sequence[Divergence]) -> None:
        """Remember that the operator leaves these as they are."""
        d = tables.divergences
        with self._writing.begin() as connection:
            for one in found:
                connection.execute(
                    sa.update(d)
                    .where(d.c.sink == one.sink, d.c.number == one.number)
                    .values(kept=True)
                )

    def forget(self, found: Sequence[Divergence]) -> None:
        """Take from the list what has been resolved."""
        d = tables.divergences
        with self._writing.begin() as connection:
            for one in found:
                connection.execute(
                    sa.delete(d).where(
                        d.c.sink == one.sink, d.c.number == one.number
                    )
                )

    def note_inserted(self, sink: str, rows: Sequence[SinkRow]) -> None:
        """Remember, before they are written, rows that will be ours."""
        rows = [
            SinkRow(number=row.number, uuid=row.uuid.lower()) for row in rows
        ]
        known = self.inserted(sink, (row.number for row in rows))
        new = [row for row in rows if row not in known]
        if not new:
            return
        with self._writing.begin() as connection:
            connection.execute(
                sa.insert(tables.inserted),
                [
                    {
                        "sink": sink,
                        "number": row.number,
                        "image": row.uuid,
                    }
                    for row in new
                ],
            )

    def inserted(self, sink: str, numbers: Iterable[int]) -> set[SinkRow]:
        """Give the rows that we have put under these numbers, ever."""
        i = tables.inserted
        statement = sa.select(i).where(i.c.sink == sink)
        with self._engine.connect() as connection:
            return {
                SinkRow(number=row.number, uuid=row.image)
                for row in select_in(
                    connection, statement, i.c.number, numbers
                )
            }
