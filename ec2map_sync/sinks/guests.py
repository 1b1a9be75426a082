"""What guests see: rows as Nova finds them, memos, and what was burnt in."""

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.queries import Settled
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.ec2id import LEGACY, ON_DEMAND
from ec2map_sync.rules.stamps import time_of
from ec2map_sync.sinks import Row
from ec2map_sync.sinks.instances import Instance
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.verify import merged

PAGE = 1000
"""Images, rows or instances that are looked at together."""

Remembered = Callable[[Iterable[str]], Mapping[str, set[int]]]
"""Tells which numbers Nova remembers of images, beside its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAnswer:
    """What a guest may see of an image in a cell."""

    uuid: str
    rows: tuple[int, ...] = ()
    """All rows of the image, the one that Nova finds first."""
    memos: frozenset[int] = frozenset()
    """What Nova remembers, and answers without a look at the rows."""

    @property
    def row(self) -> int | None:
        """What Nova answers from the rows; None if it would make one."""
        return self.rows[0] if self.rows else None

    @property
    def answer(self) -> int | None:
        """What Nova answers now; of several memos, one."""
        return min(self.memos, default=self.row)

    def is_settled(self, number: int | None) -> bool:
        """Returns whether rows and memos say this number, and no other."""
        return self.row == number and self.memos <= {number}


@dataclass(frozen=True, slots=True)
class GuestFinding:
    """An image of which guests may see another id than is settled."""

    number: int
    seen: GuestAnswer


@dataclass(frozen=True, slots=True)
class InstanceFinding:
    """An instance that carries another id than is settled."""

    instance: Instance
    image: str
    number: int
    """What is settled."""
    carries: int | None
    """What it carries, as far as that can be known."""


class GuestView:
    """A cell as its guests see it; only reads."""

    def __init__(
        self, ledger: Ledger, sink: NovaSink, remembered: Remembered | None
    ) -> None:
        self.sink = sink
        self._ledger = ledger
        self.remembered = remembered or _nothing
        self.has_memos = remembered is not None
        """Whether it is known where Nova remembers."""

    def seen(self, uuids: Iterable[str]) -> dict[str, GuestAnswer]:
        """Returns what is seen of images, by their UUIDs as given.

        Looks through the whole table, which has no index on uuid.
        """
        wanted = set(uuids)
        memos = self.remembered(wanted)
        rows = self.sink.all_numbers_of(wanted)
        return {
            uuid: GuestAnswer(
                uuid=uuid,
                rows=tuple(rows.get(uuid.lower(), ())),
                memos=frozenset(memos.get(uuid, ())),
            )
            for uuid in wanted
        }

    def strays(self, advance: Callable[[int], None]) -> Iterator[GuestFinding]:
        """Goes through all settled numbers and all rows, in pages.

        Gives each image once of which guests may not see what is settled.
        """
        pages = merged(
            partial(self._ledger.queries.settled, limit=PAGE),
            partial(self.sink.page, limit=PAGE),
            range(LEGACY.first, ON_DEMAND.stop),
            PAGE,
        )
        for settled, rows in pages:
            yield from self._of_page(settled, rows)
            advance(len(settled))

    def again(self, found: Sequence[GuestFinding]) -> list[GuestFinding]:
        """Looks again at what was not as settled."""
        left = []
        for start in range(0, len(found), PAGE):
            some = found[start : start + PAGE]
            seen = self.seen(one.seen.uuid for one in some)
            left += [
                GuestFinding(one.number, now)
                for one in some
                if not (now := seen[one.seen.uuid]).is_settled(one.number)
            ]
        return left

    def _of_page(
        self, settled: Sequence[Settled], rows: Sequence[Row]
    ) -> Iterator[GuestFinding]:
        held = dict(rows)
        memos = self.remembered(uuid for _, uuid in settled)
        doubtful = {
            uuid: number
            for number, uuid in settled
            if held.get(number) != uuid
            or memos.get(uuid, {number}) != {number}
        }
        ours = {(number, uuid.lower()) for number, uuid in settled}
        beside = self._beside(
            [r for r in rows if (r[0], r[1].lower()) not in ours]
        )
        seen = self.seen(doubtful.keys() | {uuid for uuid, _, _ in beside})
        for uuid, number in doubtful.items():
            if not seen[uuid].is_settled(number):
                yield GuestFinding(number, seen[uuid])
        for uuid, number, row in beside:
            one = seen[uuid]
            # Where its settled number is passed, a doubtful one is told.
            told = number not in one.rows or not one.memos <= {number}
            first = min((n for n in one.rows if n != number), default=row)
            if not told and row == first and not one.is_settled(number):
                yield GuestFinding(number, one)

    def _beside(self, rows: Sequence[Row]) -> list[tuple[str, int, int]]:
        """Returns the UUIDs of images that have further rows, and numbers.

        Rows of images that nobody has claimed are no concern of ours; nor
        are those that the operator has chosen to keep.
        """
        numbers = self._ledger.numbers_of({uuid.lower() for _, uuid in rows})
        known = self._ledger.numbered(numbers.values()) if numbers else {}
        kept = {
            (one.number, one.image)
            for one in self._ledger.divergences.found(numbers)
            if one.kept and one.sink == self.sink.name
        }
        found = []
        for row, uuid in rows:
            number = numbers.get(uuid.lower())
            mapped = known.get(number) if number is not None else None
            if number is None or mapped is None or not mapped.uuid:
                continue
            if (row, uuid.lower()) not in kept:
                found.append((mapped.uuid, number, row))
        return found

    def carriers(
        self, advance: Callable[[int], None], image: str | None = None
    ) -> Iterator[InstanceFinding]:
        """Goes through the living instances, in pages; or those of an image.

        Gives those that carry another id of one of their images.
        """
        after = 0
        while some := self.sink.instances(after, PAGE, image):
            yield from self._carriers(some)
            after = some[-1].id
            advance(len(some))

    def _carriers(self, some: Sequence[Instance]) -> Iterator[InstanceFinding]:
        images = {image for one in some for image in one.images}
        numbers = self._ledger.numbers_of({i.lower() for i in images})
        seen = self.seen(i for i in images if i.lower() in numbers)
        past = _Past(self._ledger, self.sink, seen.values())
        for instance in some:
            for image in seen.keys() & set(instance.images):
                number, now = numbers[image.lower()], seen[image]
                if not instance.has_config_drive:
                    if now.answer is not None and not now.is_settled(number):
                        yield InstanceFinding(
                            instance, image, number, now.answer
                        )
                elif instance.booted_at is not None:
                    burnt = past.found_at(instance.booted_at, now)
                    if burnt != number:
                        yield InstanceFinding(instance, image, number, burnt)


class _Past:
    """What Nova found for some images before, as far as that is known."""

    def __init__(
        self, ledger: Ledger, sink: NovaSink, images: Collection[GuestAnswer]
    ) -> None:
        self._sink = sink
        self._made = sink.made_at({n for one in images for n in one.rows})
        keys = {one.uuid.lower() for one in images}
        self._moved: dict[str, list[tuple[datetime, int]]] = {}
        self._replaced: dict[str, list[tuple[datetime, int]]] = {}
        for move in ledger.queries.moves(keys):
            before = self._moved.setdefault(move.image, [])
            before.append((_when(move.at), move.old))
        for image, number, at in ledger.divergences.replaced(sink.name, keys):
            before = self._replaced.setdefault(image, [])
            before.append((_when(at), number))

    def found_at(self, at: datetime, now: GuestAnswer) -> int | None:
        """Returns what Nova found for an image then; None if nobody knows."""
        key = now.uuid.lower()
        there = [
            n for n in now.rows if n not in self._made or self._made[n] <= at
        ]
        left = [n for gone, n in self._moved.get(key, ()) if gone > at]
        gave_way = [n for gone, n in self._replaced.get(key, ()) if gone > at]
        # As they lay there: of Nova's own rows, none is younger than ours.
        return self._sink.first([*gave_way, *there, *left[:1]])


def _nothing(_images: Iterable[str]) -> Mapping[str, set[int]]:
    return {}


def _when(at: Stamp) -> datetime:
    """Returns the time of a stamp as Nova writes times down."""
    return time_of(at).replace(tzinfo=None)
