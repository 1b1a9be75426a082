"""Adopting ids that images have had before: rows become wanted numbers."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.canaries import is_canary
from ec2map_sync.rules.claims import sighting_of
from ec2map_sync.rules.ec2id import ON_DEMAND, image_key
from ec2map_sync.rules.errors import BadId
from ec2map_sync.rules.rows import LAST, SinkRow
from ec2map_sync.sinks import Sink

PAGE = 2000
"""Rows looked at in one step."""


class AdoptionClass(StrEnum):
    """What adopting makes of a row that is not ours."""

    ADOPT = "adopt"
    """The image keeps, everywhere, the id that it has here."""
    ADOPTED = "adopted"
    """Done before, here or in another region."""
    ANOTHER = "has another"
    """Another id was adopted for the image, here or in another region."""
    TAKEN = "taken"
    """The number belongs to another image; an adoption never takes it."""
    NO_IMAGE = "no image"
    """The row's uuid is none, or a canary's."""
    ON_DEMAND = "on demand"
    """Above our band, where Nova goes on counting, or too large for Nova's
    table; not to be adopted."""


@dataclass(slots=True, kw_only=True)
class AdoptionCount:
    """What adopting would do, row by row."""

    count: dict[AdoptionClass, int] = field(default_factory=dict)
    example: dict[AdoptionClass, SinkRow] = field(default_factory=dict)

    def note(self, found: AdoptionClass, row: SinkRow) -> None:
        """Counts a row."""
        self.count[found] = self.count.get(found, 0) + 1
        self.example.setdefault(found, row)


class Adoption:
    """Goes through the rows of some sinks, oldest numbers first.

    The first sink that has an id for an image decides; what another sink
    says otherwise is counted as such.
    """

    def __init__(self, ledger: Ledger, *, dry_run: bool) -> None:
        self._ledger = ledger
        self._dry_run = dry_run
        self._chosen: dict[str, int] = {}
        self._used: set[int] = set()
        self.counted = AdoptionCount()

    def go_through(self, sink: Sink) -> Iterator[int]:
        """Adopts a sink's rows; gives how many rows each step has done."""
        ours = self._ledger.scheme.could_derive
        for rows in _pages(sink, 0, sink.adoptable_below):
            self._adopt([r for r in rows if not ours(r.uuid, r.number)])
            yield len(rows)
        for rows in _pages(sink, ON_DEMAND.first - 1, LAST + 1):
            for row in rows:
                self.counted.note(AdoptionClass.ON_DEMAND, row)
            yield len(rows)

    def _adopt(self, rows: Sequence[SinkRow]) -> None:
        known = self._ledger.claims({row.uuid.lower() for row in rows})
        # Also who only has a number in reserve does not give it away.
        sitting = self._ledger.queries.wishes(row.number for row in rows)
        sightings = []
        for row in rows:
            image = row.uuid.lower()
            claim, holder = known.get(image), sitting.get(row.number)
            found = self._judge(
                row,
                wanted=claim.wanted.number if claim and claim.wanted else None,
                holder=holder.image if holder else None,
            )
            self.counted.note(found, row)
            if found is AdoptionClass.ADOPT:
                self._chosen[image] = row.number
                self._used.add(row.number)
                sightings.append(
                    sighting_of(row.uuid, wanted=row.number, announced=False)
                )
        if sightings and not self._dry_run:
            self._ledger.see(sightings)

    def _judge(
        self, row: SinkRow, *, wanted: int | None, holder: str | None
    ) -> AdoptionClass:
        image = _image_of(row)
        if image is None:
            return AdoptionClass.NO_IMAGE
        if holder not in {None, image}:
            return AdoptionClass.TAKEN
        chosen = self._chosen.get(image, wanted)
        if chosen == row.number:
            return AdoptionClass.ADOPTED
        if chosen is not None:
            return AdoptionClass.ANOTHER
        if row.number in self._used:
            return AdoptionClass.TAKEN
        return AdoptionClass.ADOPT


def _image_of(row: SinkRow) -> str | None:
    """Returns whose row it is; a user may have given an image any UUID."""
    with suppress(BadId):
        image = image_key(row.uuid)
        return None if is_canary(image) else image
    return None


def _pages(sink: Sink, after: int, stop: int) -> Iterator[list[SinkRow]]:
    """Reads a sink's rows above ``after`` and below ``stop``."""
    while True:
        page = sink.scan(after, PAGE)
        rows = [row for row in page if row.number < stop]
        if rows:
            yield rows
        if len(page) < PAGE or len(rows) < len(page):
            return
        after = page[-1].number
