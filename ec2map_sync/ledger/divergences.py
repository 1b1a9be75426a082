"""What a ledger remembers of its sinks: rows of ours, rows of others."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.part import Part
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.rows import Divergence, RowClass, SinkRow
from ec2map_sync.sql.errors import again
from ec2map_sync.sql.statements import batched


class Divergences(Part):
    """Rows that are not as settled, and rows that only memory shows ours."""

    @again
    def replace(
        self, sink: str, after: int, upto: int, found: Sequence[Divergence]
    ) -> int:
        """Notes what a sink holds above ``after``, up to ``upto``.

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
        """Returns what is noted of all images, or some; ``kept`` or not."""
        d = tables.divergences
        statement = sa.select(d).order_by(d.c.sink, d.c.number)
        if not kept:
            statement = statement.where(d.c.kept == sa.false())
        return [
            Divergence(
                sink=row.sink,
                number=row.number,
                image=row.image,
                row_class=RowClass(row.row_class),
                settled=row.settled,
                kept=row.kept,
            )
            for row in (
                self._rows(statement)
                if images is None
                else self._rows_in(statement, d.c.image, images)
            )
        ]

    def counts(self) -> dict[tuple[str, str, bool], int]:
        """Counts what is noted, by sink, class and whether it is kept."""
        d = tables.divergences
        key = (d.c.sink, d.c.row_class, d.c.kept)
        statement = sa.select(*key, sa.func.count()).group_by(*key)
        rows = self._rows(statement)
        return {(sink, name, kept): n for sink, name, kept, n in rows}

    def keep(self, found: Sequence[Divergence]) -> None:
        """Remembers that the operator leaves these as they are."""
        kept = sa.update(tables.divergences).values(kept=True)
        self._write(*(kept.where(_at(one)) for one in found))

    def forget(self, found: Sequence[Divergence]) -> None:
        """Takes from the list what has been resolved."""
        gone = sa.delete(tables.divergences)
        self._write(*(gone.where(_at(one)) for one in found))

    @again
    def note_replaced(self, sink: str, rows: Sequence[SinkRow]) -> None:
        """Remembers, before they go, rows that guests may have seen."""
        now = self._clock()
        values = [
            {
                "sink": sink,
                "number": r.number,
                "image": r.uuid.lower(),
                "at": now,
            }
            for r in rows
        ]
        if values:
            with self._writing.begin() as connection:
                for some in batched(values):
                    connection.execute(sa.insert(tables.replaced), some)

    def replaced(
        self, sink: str, images: Iterable[str]
    ) -> list[tuple[str, int, Stamp]]:
        """Returns the rows of images that have gone: image, number, when."""
        r = tables.replaced
        statement = sa.select(r.c.image, r.c.number, r.c.at).where(
            r.c.sink == sink
        )
        rows = self._rows_in(statement, r.c.image, images)
        return sorted(map(tuple, rows), key=lambda row: row[2])

    @again
    def note_inserted(self, sink: str, rows: Sequence[SinkRow]) -> None:
        """Remembers, before they are written, rows that will be ours."""
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
                    {"sink": sink, "number": row.number, "image": row.uuid}
                    for row in new
                ],
            )

    def inserted(self, sink: str, numbers: Iterable[int]) -> set[SinkRow]:
        """Returns the rows that we have put under these numbers, ever."""
        i = tables.inserted
        statement = sa.select(i).where(i.c.sink == sink)
        return {
            SinkRow(number=row.number, uuid=row.image)
            for row in self._rows_in(statement, i.c.number, numbers)
        }


def _at(one: Divergence) -> sa.ColumnElement[bool]:
    d = tables.divergences
    return sa.and_(d.c.sink == one.sink, d.c.number == one.number)
