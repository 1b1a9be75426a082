"""The audit of one sink: every row it holds, page by page."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import sighting_of
from ec2map_sync.rules.ec2id import ON_DEMAND
from ec2map_sync.rules.errors import BadId
from ec2map_sync.rules.rows import (
    DIVERGING,
    LAST,
    Divergence,
    RowClass,
    SinkRow,
    class_of_others,
    classify,
)
from ec2map_sync.running import counters
from ec2map_sync.sinks import Sink, takes
from ec2map_sync.sinks.writer import Writer

LOG = logging.getLogger(__name__)

PAGE = 2000
"""Rows looked at in one step."""

LOOK_INTERVAL = 60.0
"""Seconds between two looks at what Nova has added."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a sweep has found so far."""

    rows: int = 0
    missing: int = 0
    """Rows that should have been there."""
    classes: Counter[RowClass] = field(default_factory=Counter)
    new: int = 0
    """Divergences that were not known before."""

    def __str__(self) -> str:
        found = [f"{n} {name}" for name, n in sorted(self.classes.items())]
        return ", ".join([*found, f"{self.missing} missing"])


class Sweep:
    """Goes through a sink in the order of its primary key.

    What is missing or stale is written again; what is not ours is noted as
    divergence, and left alone unless the Writer rewrites such rows. Rows
    that Nova has made on demand for images that nobody announced are
    sightings: their images get numbers. So are rows of ours whose images the
    ledger has lost, once every peer was asked for them: ``asking`` begins to
    look whether that is so since now.
    """

    def __init__(
        self,
        ledger: Ledger,
        sink: Sink,
        writer: Writer,
        *,
        asking: Callable[[], Callable[[], bool]] = lambda: lambda: True,
    ) -> None:
        self._ledger = ledger
        self._sink = sink
        self._writer = writer
        self._asking = asking
        self._asked: Callable[[], bool] | None = None
        self._lost: list[SinkRow] = []
        self.begin()

    def begin(self, after: int = 0) -> None:
        """Starts anew, behind a number."""
        self.position = after
        self.tally = Tally()
        self.complete = False

    def step(self) -> None:
        """Looks at one page."""
        if self.position == 0:
            # A restored cell may lack no row, and count in our band still.
            self._sink.reserve()
            self._sink.suspect = False
        written = self._ledger.cursors.position(self._sink.name)
        rows = self._sink.scan(self.position, PAGE)
        self.complete = len(rows) < PAGE
        upto = LAST if self.complete else rows[-1].number
        self._look(rows, self.position, upto, written)
        if rows:
            self.position = rows[-1].number

    @property
    def is_due(self) -> bool:
        """Whether Nova may have got rows where a sweep alone finds them."""
        return self._sink.suspect

    def claim_lost(self) -> bool:
        """Claims the images of rows of ours that nobody else knows either.

        What a peer knows of them comes back by comparing, and with it their
        numbers: a claim of now might get another one. False while peers are
        still waited for.
        """
        if not self._lost:
            return True
        if self._asked is None:
            # The peers are told what is held, not what was once held.
            if not self._ledger.copies.look_at_totals():
                self._ledger.copies.mend_totals()
            self._asked = self._asking()
        if not self._asked():
            return False
        self._see(self._lost)
        self._lost, self._asked = [], None
        return True

    def continue_above(self) -> None:
        """Looks only at what Nova may have added since: above our band."""
        self.begin(max(self.position, ON_DEMAND.first - 1))

    def _look(
        self, rows: Sequence[SinkRow], after: int, upto: int, written: int
    ) -> None:
        classes = self._classify(rows)
        there = {row.number for row, kind in classes if kind is RowClass.OURS}
        held = self._ledger.held_between(after, upto, written)
        missing = self._wanted([n for n in held if n not in there])
        stale = {row for row, kind in classes if kind is RowClass.STALE}
        if missing or stale:
            steps = self._writer.write(
                sorted({*missing, *(row.number for row in stale)})
            )
            own = self._own_by_now(stale.difference(steps.remove))
            classes = [(row, own.get(row, kind)) for row, kind in classes]
            # Where somebody's own row stands in the way, nothing was lost.
            missing = sorted({row.number for row in steps.add} & {*missing})
        found = self._diverging(classes)
        if self._writer.rewrites:
            found = self._rewrite(found)
        self._note_made(classes)
        self.tally.new += self._ledger.divergences.replace(
            self._sink.name, after, upto, found
        )
        self._see(
            row
            for row, kind in classes
            if kind is RowClass.UNKNOWN and row.number in ON_DEMAND
        )
        self._lost += [row for row, kind in classes if kind is RowClass.LOST]
        self.claim_lost()
        self.tally.rows += len(rows)
        self.tally.classes.update(kind for _, kind in classes)
        self.tally.missing += len(missing)
        counters.MISSING_ROWS.add(len(missing), self._sink.name)

    def _own_by_now(
        self, stale: Collection[SinkRow]
    ) -> dict[SinkRow, RowClass]:
        """Returns what rows of ours are that somebody has made his own.

        They do not go: ec2-api's users go on with the ids that they have.
        """
        if not stale:
            return {}
        # By primary key: Nova has no index on uuid.
        there = self._sink.rows(row.number for row in stale)
        own = [row for row in there if row in stale]
        holders = self._holders(row.number for row in own)
        known = self._ledger.numbers_of({row.uuid.lower() for row in own})
        return {
            row: class_of_others(
                row,
                holder=holders.get(row.number),
                known=row.uuid.lower() in known,
            )
            for row in own
        }

    def _note_made(self, classes: Iterable[tuple[SinkRow, RowClass]]) -> None:
        """Notes images of which Nova has made a row since the last look."""
        if not self._writer.notes:
            return
        made = {
            SinkRow(number=row.number, uuid=row.uuid.lower()): row.uuid
            for row, kind in classes
            if row.number in ON_DEMAND
            and kind in {RowClass.ON_DEMAND, RowClass.UNKNOWN}
        }
        known = {
            SinkRow(number=one.number, uuid=one.image)
            for one in self._ledger.divergences.found(
                {row.uuid for row in made}
            )
            if one.sink == self._sink.name
        }
        self._writer.note(made[row] for row in made.keys() - known)

    def _wanted(self, numbers: Sequence[int]) -> list[int]:
        """Leaves out those that the sink does not take yet."""
        settled = self._ledger.numbered(numbers)
        return [n for n in numbers if takes(self._sink, settled[n])]

    def _classify(
        self, rows: Sequence[SinkRow]
    ) -> list[tuple[SinkRow, RowClass]]:
        # First the one that puts right what is contradictory.
        holders = self._holders(row.number for row in rows)
        settled = self._ledger.numbers_of({r.uuid.lower() for r in rows})
        inserted = self._ledger.divergences.inserted(
            self._sink.name, (row.number for row in rows)
        )
        classes = []
        for row in rows:
            image = row.uuid.lower()
            kind = classify(
                row,
                settled=settled.get(image),
                holder=holders.get(row.number),
                scheme=self._ledger.scheme,
                inserted=SinkRow(number=row.number, uuid=image) in inserted,
            )
            classes.append((row, kind))
        return classes

    def _holders(self, numbers: Iterable[int]) -> dict[int, str]:
        """Returns the images, as keys, for which numbers are settled."""
        settled = self._ledger.numbered(numbers).items()
        return {n: held.uuid.lower() for n, held in settled if held.uuid}

    def _diverging(
        self, classes: Sequence[tuple[SinkRow, RowClass]]
    ) -> list[Divergence]:
        # The first of each number: only ec2-api ever has two of others.
        noted = {
            row.number: (row, kind)
            for row, kind in reversed(classes)
            if kind in DIVERGING
        }
        settled = self._ledger.numbers_of(
            {row.uuid.lower() for row, _ in noted.values()}
        )
        return [
            Divergence(
                sink=self._sink.name,
                number=row.number,
                image=row.uuid.lower(),
                row_class=kind,
                settled=settled.get(row.uuid.lower()),
            )
            for row, kind in noted.values()
        ]

    def _rewrite(self, found: Sequence[Divergence]) -> list[Divergence]:
        """Replaces what the operator wants replaced; gives what stays."""
        known = self._ledger.divergences.found({one.image for one in found})
        kept = {
            (one.number, one.image)
            for one in known
            if one.kept and one.sink == self._sink.name
        }
        giving_way = [
            one
            for one in found
            if one.replaceable and (one.number, one.image) not in kept
        ]
        if giving_way:
            self._writer.replace(giving_way)
        return [one for one in found if one not in giving_way]

    def _see(self, unknown: Iterable[SinkRow]) -> None:
        sightings = []
        for row in unknown:
            # Another is somebody's own row, no image of Glance's.
            with suppress(BadId):
                sightings.append(sighting_of(row.uuid, announced=False))
        if sightings:
            news = self._ledger.see(sightings).news
            counters.CLAIMS.add(news, "sinks")


class SinkAuditor:
    """Sweeps a sink after a start and at an interval.

    Its end, where the rows are that Nova adds, is looked at more often.
    """

    def __init__(
        self,
        sweep: Sweep,
        name: str,
        *,
        may_begin: Callable[[], bool],
        interval: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sweep = sweep
        self._name = name
        self._may_begin = may_begin
        self._interval = interval
        self._monotonic = monotonic
        self._swept_at: float | None = None
        self._looked_at = 0.0
        self._whole = True

    def step(self) -> bool:
        """Looks at one page, if it is time to; True if more are due."""
        if not self._may_begin():
            return False
        if not self._sweep.claim_lost():
            return False
        if self._sweep.complete and not self._begin():
            return False
        self._sweep.step()
        if self._sweep.complete:
            self._finish()
        return not self._sweep.complete

    def _begin(self) -> bool:
        now = self._monotonic()
        swept = self._swept_at
        due = swept is None or now - swept >= self._interval
        if due or self._sweep.is_due:
            self._whole = True
            self._sweep.begin()
        elif now - self._looked_at >= LOOK_INTERVAL:
            self._whole = False
            self._sweep.continue_above()
        else:
            return False
        return True

    def _finish(self) -> None:
        self._looked_at = self._monotonic()
        if self._whole:
            self._swept_at = self._looked_at
        tally = self._sweep.tally
        if tally.missing or tally.new:
            LOG.warning(
                "%s is not all as settled: %s; see 'ec2map-sync divergence "
                "list'",
                self._name,
                tally,
            )
