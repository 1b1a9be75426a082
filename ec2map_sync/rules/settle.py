"""Settling: which wish gets which number, from scratch and step by step.

Ordered hashing (O. Amble and D. E. Knuth, "Ordered hash tables", The
Computer Journal 17(2), 1974): the earlier wish always wins a number, so the
outcome depends on the set of wishes alone, never on the order of arrival.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from ec2map_sync.rules.canaries import is_canary
from ec2map_sync.rules.claims import Claim, Stamp
from ec2map_sync.rules.ec2id import Scheme


class Wish(NamedTuple):
    """An image's wish for a number; the smaller wish wins.

    ``wanted`` is the one number of an adopted id, or 0 for a derived
    number, of which every probe is welcome.
    """

    at: Stamp
    image: str
    wanted: int = 0

    def choices(self, scheme: Scheme) -> Iterator[int]:
        """Returns the numbers that would do, best first, none twice."""
        if self.wanted:
            yield self.wanted
            return
        seen = set()
        for number in scheme.probes(self.image):
            if number not in seen:
                seen.add(number)
                yield number


def wishes(claim: Claim) -> list[Wish]:
    """Returns what a claim wishes for: a derived number, and a wanted one.

    A canary's wishes for nothing.
    """
    if is_canary(claim.image):
        return []
    derived = Wish(claim.claimed_at, claim.image)
    if claim.wanted is None:
        return [derived]
    return [derived, Wish(claim.wanted.at, claim.image, claim.wanted.number)]


def settle(claims: Iterable[Claim], scheme: Scheme) -> dict[str, int]:
    """Settles a whole set from scratch: image -> number.

    This is the definition; `Board` reaches the same result step by step.
    """
    seats: dict[int, Wish] = {}
    mapping: dict[str, int] = {}
    for wish in sorted(w for claim in claims for w in wishes(claim)):
        for number in wish.choices(scheme):
            if number not in seats:
                seats[number] = wish
                if wish.wanted or wish.image not in mapping:
                    mapping[wish.image] = number
                break
    return mapping


@dataclass(slots=True)
class Slot:
    """One number: the wish that sits there, and those that passed it by."""

    wish: Wish | None = None
    passed: set[Wish] = field(default_factory=set)

    def knows(self, image: str) -> bool:
        """Returns whether an image sits there, or has gone by."""
        if self.wish is not None and self.wish.image == image:
            return True
        return any(wish.image == image for wish in self.passed)


class Eviction(NamedTuple):
    """That an image has lost a number, its own or one reserved for it.

    By an adoption alone nobody loses one: the adopted number was nobody's,
    and the derived one stays reserved.
    """

    number: int
    image: str
    blamed: frozenset[str]
    """Whose claims may have done it; others among them are only near it."""


Loader = Callable[[Collection[int]], Mapping[int, Slot]]
"""Reads the slots of some numbers; those never held are left out."""


class Board:
    """The slots that a settling has to look at, read when first needed.

    A wish that meets an earlier one goes on to its next number; one that
    meets a later one takes the seat, and the other goes on. When a seat is
    left, all who once passed it are looked at again, also when somebody
    else has taken it meanwhile: else they would stay where they are.
    """

    def __init__(self, scheme: Scheme, load: Loader) -> None:
        self._scheme = scheme
        self._load = load
        self._queue: list[Wish] = []
        self._new: set[Wish] = set()
        self._gone: set[Wish] = set()
        self._homes: dict[str, int] = {}
        self._seats: dict[Wish, int] = {}
        self._causes: dict[Wish, str] = {}
        self._sat: dict[int, Wish] = {}
        self.slots: dict[int, Slot] = {}
        self.touched: set[int] = set()
        """Numbers whose slot is not as it was read."""
        self.images: set[str] = set()
        """Images that have gained or lost a seat."""

    def read(self, numbers: Iterable[int]) -> None:
        """Reads slots ahead of need, all at once."""
        missing = {n for n in numbers if n not in self.slots}
        if missing:
            found = self._load(missing)
            for number in missing:
                slot = self.slots[number] = found.get(number) or Slot()
                if slot.wish:
                    self._sat[number] = slot.wish

    def slot(self, number: int) -> Slot:
        """Returns one slot."""
        if number not in self.slots:
            self.read([number])
        return self.slots[number]

    def replace(self, old: Iterable[Wish], new: Iterable[Wish]) -> None:
        """Exchanges the wishes of an image; takes effect by `run`."""
        before, after = set(old), set(new)
        for wish in before - after:
            self._withdraw(wish)
        for wish in after - before:
            self._gone.discard(wish)
            self._new.add(wish)
            self._queue.append(wish)

    def again(self, some: Iterable[Wish]) -> None:
        """Puts wishes in the queue that were looked at before."""
        self._queue += some

    def vacate(self, number: int) -> None:
        """Takes a number from a wish that sits elsewhere as well."""
        self._leave(number, self.slot(number))

    def prepare(self) -> None:
        """Reads, all at once, what the wishes in the queue like best."""
        self.read(self._first_of(w) for w in self._queue)

    def traced(self, images: Iterable[str]) -> set[str]:
        """Returns which images have sat, or gone by, where they like best.

        All that wish for a number and are settled have. Read all at once.
        """
        homes = {i: self._home(i) for i in images if not is_canary(i)}
        self.read(homes.values())
        return {i for i, home in homes.items() if self.slots[home].knows(i)}

    def run(self) -> None:
        """Looks at every wish in the queue, the earliest first.

        Whoever is queued meanwhile is later than the wish that caused it,
        so nobody has to be looked at twice for the same reason.
        """
        self._queue = [w for w in self._queue if not self._sits_at_once(w)]
        heapq.heapify(self._queue)
        while self._queue:
            wish = heapq.heappop(self._queue)
            if wish not in self._gone:
                self._look(wish)

    def seat(self, wish: Wish) -> int | None:
        """Returns which number a wish has got."""
        return self._seats.get(wish) or self.find(wish)

    def find(self, wish: Wish) -> int | None:
        """Looks where a wish sits, number by number."""
        for number in self._choices(wish):
            slot = self.slot(number)
            if slot.wish == wish:
                return number
            if wish not in slot.passed:
                return None
        return None

    def walk(self, wish: Wish) -> Iterator[int]:
        """Returns the numbers that a wish has gone by, and where it ends."""
        for number in self._choices(wish):
            yield number
            slot = self.slot(number)
            if slot.wish == wish or wish not in slot.passed:
                return

    def is_right(self, wish: Wish) -> bool:
        """Returns whether a wish sits, or went by, where it should."""
        for number in self._choices(wish):
            slot = self.slot(number)
            if slot.wish == wish:
                return wish not in slot.passed
            earlier = slot.wish is not None and slot.wish < wish
            if not earlier or wish not in slot.passed:
                return False
        return True

    def number_of(self, claim: Claim) -> int | None:
        """Returns an image's number: the wanted one if it got that."""
        for wish in reversed(wishes(claim)):
            seat = self.seat(wish)
            if seat is not None:
                return seat
        return None

    def cause(self, claim: Claim, old: int) -> str:
        """Returns whose claim has made an image leave a number.

        Its rival's there, or that of the one who left it a better number;
        its own, if that got earlier or adopts an id.
        """
        derived, *adopted = wishes(claim)
        lost = next((w for w in adopted if w.wanted == old), derived)
        rival = self.slot(old).wish
        if rival and rival.image != claim.image and rival < lost:
            return rival.image
        for wish in (*adopted, derived):
            if self.seat(wish) is not None:
                return self._causes.get(wish, claim.image)
        return claim.image

    def evictions(self) -> list[Eviction]:
        """Returns which numbers are no longer those of who had them."""
        found = []
        for number in sorted(self.touched & self._sat.keys()):
            lost, now = self._sat[number], self.slots[number].wish
            if now is None or now.image != lost.image:
                blamed = self._blamed(number, lost)
                found.append(Eviction(number, lost.image, blamed))
        return found

    def _blamed(self, number: int, lost: Wish) -> frozenset[str]:
        """Returns the rivals there, also those who would come next.

        Where there is none, the wish was withdrawn by its own claim, or has
        got a better number, which somebody has left.
        """
        slot = self.slots[number]
        there = slot.passed | ({slot.wish} if slot.wish else set())
        rivals = frozenset(w.image for w in there if w < lost) - {lost.image}
        return rivals or frozenset({lost.image, self._causes.get(lost, "")})

    def _first_of(self, wish: Wish) -> int:
        """Returns the number that a wish likes best; hardly any needs more."""
        return wish.wanted or self._home(wish.image)

    def _home(self, image: str) -> int:
        """Returns the derived number that an image likes best."""
        if image not in self._homes:
            self._homes[image] = self._scheme.derive(image)
        return self._homes[image]

    def _choices(self, wish: Wish) -> Iterator[int]:
        yield self._first_of(wish)
        yield from islice(wish.choices(self._scheme), 1, None)

    def _withdraw(self, wish: Wish) -> None:
        self._new.discard(wish)
        self._gone.add(wish)
        self._forget(wish, self._choices(wish))

    def _sits_at_once(self, wish: Wish) -> bool:
        """Seats a new wish where nobody is or was, as nearly all are.

        Out of turn: an earlier one takes the number from it, as from others.
        """
        slot = self.slot(number := self._first_of(wish))
        if slot.wish or slot.passed or wish not in self._new:
            return False
        self._new.remove(wish)
        self._sit(wish, number)
        return True

    def _look(self, wish: Wish) -> None:
        choices = self._choices(wish)
        for number in choices:
            slot = self.slot(number)
            if slot.wish is None or slot.wish >= wish:
                self._sit(wish, number)
                break
            if wish not in slot.passed:
                slot.passed.add(wish)
                self.touched.add(number)
        if wish in self._new:
            self._new.remove(wish)
        else:
            self._forget(wish, choices)

    def _sit(self, wish: Wish, number: int) -> None:
        slot = self.slot(number)
        if wish in slot.passed:
            slot.passed.remove(wish)
            self.touched.add(number)
        if slot.wish == wish:
            return
        if slot.wish is not None:
            heapq.heappush(self._queue, slot.wish)
            self.images.add(slot.wish.image)
            self._seats.pop(slot.wish, None)
            self._causes[slot.wish] = wish.image
        slot.wish = wish
        self._seats[wish] = number
        self.touched.add(number)
        self.images.add(wish.image)

    def _forget(self, wish: Wish, choices: Iterable[int]) -> None:
        """Takes away the trace that a wish has left on these numbers."""
        for number in choices:
            slot = self.slot(number)
            if slot.wish == wish:
                self._leave(number, slot)
                return
            if wish not in slot.passed:
                return
            slot.passed.remove(wish)
            self.touched.add(number)

    def _leave(self, number: int, slot: Slot) -> None:
        assert slot.wish is not None
        leaver = slot.wish.image
        self.images.add(leaver)
        self.touched.add(number)
        self._seats.pop(slot.wish, None)
        slot.wish = None
        for passed in slot.passed:
            heapq.heappush(self._queue, passed)
            self._causes[passed] = leaver
