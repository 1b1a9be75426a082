"""Verifying a sink: whether it holds what is settled, row by row."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeVar

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.queries import Settled
from ec2map_sync.rules.ec2id import LEGACY, ON_DEMAND, Band
from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.sinks import Ranges, Row, Sink, found_for, takes
from ec2map_sync.sinks.writer import NUMBERS_AT_ONCE, Writer
from ec2map_sync.sql.rowprints import PART_BITS

T = TypeVar("T")

PAGE = 5000
"""Rows read at a time from either side."""

PATIENT = 10_000
"""Differences up to which is looked again: more are no matter of timing."""
LOOKS = 4
PAUSE = 0.5
"""How often, and seconds between: what is being written is not missing."""


class DifferenceKind(StrEnum):
    """How a sink's row differs from what is settled."""

    MISSING = "missing"
    """A number is settled, and the sink holds nothing under it."""
    FOREIGN = "foreign"
    """Nothing is settled, and the sink holds a row that is not ours."""
    DIFFERENT = "different"
    """Another row than the settled one, or one of ours left over."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A number under which a sink does not hold what is settled."""

    number: int
    settled: str | None
    found: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What checking a sink has come to."""

    checked: int
    differences: tuple[Difference, ...]


class SinkCheck:
    """Compares one sink with the ledger, by ranges of the primary key."""

    def __init__(
        self,
        ledger: Ledger,
        sink: Sink,
        *,
        advance: Callable[[int], None] = lambda _count: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._sink = sink
        self._advance = advance
        self._sleep = sleep
        self._checked = 0

    def run(self) -> Findings:
        """Compares everything."""
        band = self._ledger.scheme.band
        # Of the rows from before us, only adopted ones are ours.
        differences = list(self._by_number(LEGACY.first, band.first))
        if self._sink.ranges is None:
            differences += self._by_number(band.first, band.stop)
        else:
            differences += self._by_prints(self._sink.ranges, band)
            differences += self._on_demand(self._sink.ranges)
        found = confirmed(differences, self.again, self._sleep)
        return Findings(checked=self._checked, differences=tuple(found))

    def kind(self, difference: Difference) -> DifferenceKind:
        """Returns what a difference is."""
        number, uuid = difference.number, difference.found
        if uuid is None:
            return DifferenceKind.MISSING
        if difference.settled is None and not (
            self._ledger.scheme.could_derive(uuid, number)
        ):
            return DifferenceKind.FOREIGN
        return DifferenceKind.DIFFERENT

    def repairable(self, found: Sequence[Difference]) -> list[int]:
        """Returns the numbers that writing again may put right.

        A row of an image that nobody has claimed here stays: it may be the
        ledger that lacks something.
        """
        keys = {d.found.lower() for d in found if d.found and not d.settled}
        known = self._ledger.claims(keys)
        return [
            d.number
            for d in found
            if d.settled
            or (
                self.kind(d) is DifferenceKind.DIFFERENT
                and d.found
                and d.found.lower() in known
            )
        ]

    def again(self, found: Sequence[Difference]) -> list[Difference]:
        """Looks again at what was different."""
        left = []
        for start in range(0, len(found), NUMBERS_AT_ONCE):
            numbers = [
                d.number for d in found[start : start + NUMBERS_AT_ONCE]
            ]
            rows: dict[int, list[SinkRow]] = defaultdict(list)
            for row in self._sink.rows(numbers):
                rows[row.number].append(row)
            settled = self._ledger.numbered(numbers)
            for number in numbers:
                held = settled.get(number)
                uuid = held.uuid if held and takes(self._sink, held) else None
                there = found_for(
                    rows[number], uuid, held.kind if held else None
                )
                if uuid != there:
                    left.append(Difference(number, uuid, there))
        return left

    def _by_prints(self, ranges: Ranges, band: Band) -> Iterator[Difference]:
        """Compares the prints of all parts, and the rows where they differ."""
        ours = self._ledger.queries.settled_prints(band.first, band.stop)
        theirs = ranges.prints(band.first, band.stop)
        for part in sorted(ours.keys() | theirs.keys()):
            own = ours.get(part)
            if own is not None and own == theirs.get(part):
                self._count(own.count)
                continue
            low, stop = (n << PART_BITS for n in (part, part + 1))
            yield from self._by_range(
                ranges, max(low, band.first), min(stop, band.stop)
            )

    def _by_range(
        self, ranges: Ranges, low: int, stop: int
    ) -> Iterator[Difference]:
        """Compares whole ranges, where nobody else has a row."""
        pages = merged(
            partial(self._settled, limit=PAGE),
            partial(ranges.page, limit=PAGE),
            range(low, stop),
            PAGE,
        )
        for ours, theirs in pages:
            if ours != theirs:
                yield from _differences(dict(ours), dict(theirs))
            self._count(len(ours))

    def _on_demand(self, ranges: Ranges) -> Iterator[Difference]:
        """Finds what Nova has made beside our rows, unless it is kept."""
        low = ON_DEMAND.first
        while rows := ranges.page(low, ON_DEMAND.stop, PAGE):
            images = {uuid.lower() for _, uuid in rows}
            settled = self._ledger.numbers_of(images)
            kept = {
                one.number
                for one in self._ledger.divergences.found(images)
                if one.kept and one.sink == self._sink.name
            }
            for number, uuid in rows:
                if uuid.lower() in settled and number not in kept:
                    yield Difference(number, None, uuid)
            low = rows[-1][0] + 1

    def _by_number(self, low: int, stop: int) -> Iterator[Difference]:
        """Compares the numbers that are settled, and no others."""
        while ours := self._settled(low, stop, NUMBERS_AT_ONCE):
            rows = self._sink.rows(number for number, _ in ours)
            there = {(row.number, row.uuid) for row in rows}
            doubtful = [one for one in ours if one not in there]
            yield from self.again([Difference(*one, None) for one in doubtful])
            self._count(len(ours))
            low = ours[-1][0] + 1

    def _settled(self, low: int, stop: int, limit: int) -> list[Settled]:
        return self._ledger.queries.settled(
            low, stop, limit, known_kind=self._sink.needs_kind
        )

    def _count(self, numbers: int) -> None:
        self._checked += numbers
        self._advance(numbers)


def repair(
    check: SinkCheck,
    writer: Writer,
    found: Sequence[Difference],
    *,
    dry_run: bool,
) -> tuple[int, Sequence[Difference]]:
    """Writes again what a sink lacks, or holds otherwise.

    Gives how many rows were written or removed, or would be, and what is
    different after that.
    """
    numbers = check.repairable(found)
    changed = 0
    for start in range(0, len(numbers), NUMBERS_AT_ONCE):
        steps = writer.write(
            numbers[start : start + NUMBERS_AT_ONCE], dry_run=dry_run
        )
        touched = {row.number for row in (*steps.add, *steps.remove)}
        changed += len(touched)
    if dry_run:
        return changed, found
    return changed, check.again(found)


def confirmed(
    found: list[T],
    again: Callable[[list[T]], list[T]],
    sleep: Callable[[float], None],
) -> list[T]:
    """Leaves out what is being written just now, by looking ``again``."""
    if len(found) <= PATIENT:
        for _ in range(LOOKS):
            if not found:
                break
            sleep(PAUSE)
            left = again(found)
            if len(left) == len(found):
                break
            found = left
    return found


def merged(
    ours: Callable[[int, int], list[Settled]],
    theirs: Callable[[int, int], list[Row]],
    numbers: range,
    limit: int,
) -> Iterator[tuple[list[Settled], list[Row]]]:
    """Reads two tables side by side, by number, in pages of a limit."""
    low = numbers.start
    while low < numbers.stop:
        pages = ours(low, numbers.stop), theirs(low, numbers.stop)
        full = [page[-1][0] + 1 for page in pages if len(page) == limit]
        low = min(full, default=numbers.stop)
        yield _below(pages[0], low), _below(pages[1], low)


def _below(page: list[Settled], high: int) -> list[Settled]:
    if page and page[-1][0] >= high:
        return [row for row in page if row[0] < high]
    return page


def _differences(
    settled: dict[int, str], found: dict[int, str]
) -> Iterable[Difference]:
    for number in sorted(settled.keys() | found.keys()):
        one, other = settled.get(number), found.get(number)
        if one != other:
            yield Difference(number, one, other)
