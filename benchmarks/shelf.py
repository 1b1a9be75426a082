"""Sets of millions of claims: one that all share, and what each lacks of it.

A claim is here its stamp and nothing else: no two have the same. All that
are ever made lie in arrays that every region shares; a region holds those
made so far, less its gaps. `Shelf` has the methods of a ledger that
comparing uses, so that `ec2map_sync.peers.compare` itself works on it.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from ec2map_sync.rules.claims import (
    HASH_BITS,
    SUM_MODULUS,
    Bound,
    Print,
    Range,
    Span,
    Stamp,
)

SPLIT_BITS = 5
"""As `ec2map_sync.ledger.ranges` has it."""

FOREVER = 2**62


def _hash(stamp: Stamp) -> int:
    """Scatter stamps as the hashes of claims are scattered."""
    return (stamp * 0x9E3779B97F4A7C15 >> 20) % (1 << HASH_BITS)


class Stream:
    """Claims in the order of their stamps, and the sums of their hashes."""

    def __init__(self, stamps: Sequence[Stamp]) -> None:
        self.stamps = array("q", stamps)
        self._sums = array("Q", accumulate(map(_hash, stamps), initial=0))

    def upto(self, stamp: Stamp) -> int:
        """Count the claims made before a stamp."""
        return bisect_left(self.stamps, stamp)

    def print(self, start: int, stop: int) -> Print:
        """Give the print of the claims between two places."""
        if start >= stop:
            return Print(0, 0)
        return Print(stop - start, self._sums[stop] - self._sums[start])


class Run(NamedTuple):
    """Neighbours in one stream, as a page of claims has them."""

    origin: int
    start: int
    stop: int
    last: Stamp

    @property
    def bound(self) -> Bound:
        """Where the last of them stands."""
        return Bound(self.last, f"{self.last:036x}")


class Universe:
    """All claims ever made, by the region that makes them; and the time.

    Stream 0 is what was there before anything began.
    """

    def __init__(self, streams: Sequence[Sequence[Stamp]]) -> None:
        self.streams = [Stream(stamps) for stamps in streams]
        self.all = Stream(sorted(s for stamps in streams for s in stamps))
        self.now: Stamp = FOREVER


class Shelf:
    """What one region holds.

    ``delays`` says how long the claims of other regions take to get here,
    in microseconds: of those streams, all that is older is held.
    """

    def __init__(self, universe: Universe, delays: Mapping[int, int]) -> None:
        self._universe = universe
        self._delays = dict(delays)
        self._flowing = dict(delays)
        self._slowest = max(delays.values(), default=0)
        self._gaps: dict[int, list[tuple[int, int]]] = {}
        self._tail_at: Stamp = -1
        self._tail = Stream([])

    # How claims come

    def freeze(self, origin: int) -> int:
        """Let no more of a stream come; the place from which it lacks."""
        arrived = self.due(origin)
        del self._flowing[origin]
        self._gaps.setdefault(origin, []).append((arrived, FOREVER))
        self._tail_at = -1
        return arrived

    def thaw(self, origin: int) -> None:
        """Let a stream come by itself again; its old gaps stay."""
        arrived = self.due(origin)
        old = self._gaps.pop(origin)
        # What is on its way needs no gap.
        kept = [(i, min(j, arrived)) for i, j in old if i < arrived]
        if kept:
            self._gaps[origin] = kept
        self._flowing[origin] = self._delays[origin]
        self._tail_at = -1

    def forget(self, origin: int, stop: int = FOREVER) -> None:
        """Lose a stream up to a place: a ledger that is new."""
        self._gaps[origin] = [(0, stop)]

    def due(self, origin: int) -> int:
        """Count what has had the time to come, of one stream."""
        due = self._universe.now - self._delays[origin]
        return bisect_right(self._universe.streams[origin].stamps, due)

    def fill(self, origin: int, start: int, stop: int) -> int:
        """Take in neighbours of one stream; how many were news."""
        news = 0
        left: list[tuple[int, int]] = []
        for gap in self._gaps.get(origin, ()):
            low, high = max(gap[0], start), min(gap[1], stop)
            if low >= high:
                left.append(gap)
                continue
            news += high - low
            left += [g for g in ((gap[0], low), (high, gap[1])) if g[0] < g[1]]
        if news:
            self._gaps[origin] = left
            if not left:
                del self._gaps[origin]
        return news

    def holes(self, until: Stamp) -> int:
        """Count what is lacking of the claims made before a stamp."""
        streams = self._universe.streams
        return sum(
            max(0, min(j, streams[o].upto(until)) - i)
            for o, gaps in self._gaps.items()
            for i, j in gaps
        )

    # What comparing uses of a ledger

    def print_before(self, until: Stamp) -> Print:
        """Give the print of what was claimed before a stamp."""
        return self.print_of(Span(Bound(0), Bound(until)))

    def print_of(self, span: Span) -> Print:
        """Give the print of a span."""
        return self._print(*self._stamps(span))

    def prints_of(
        self, spans: Sequence[Span], _most: Sequence[int] = ()
    ) -> list[Print]:
        """Give the print of each span; the whole costs no more here."""
        return [self.print_of(span) for span in spans]

    def split(self, span: Span) -> list[Range]:
        """Cut a span as the ledger does."""
        start, stop = self._stamps(span)
        ends = self._ends(start, stop)
        if ends is None:
            return []
        low, high = ends
        shift = max(0, (low ^ high).bit_length() - SPLIT_BITS)
        parts = []
        for part in range(low >> shift, (high >> shift) + 1):
            piece = Span(
                max(Bound(part << shift), span.start),
                min(Bound((part + 1) << shift), span.stop),
            )
            found = self.print_of(piece)
            if found.count:
                parts.append(Range(span=piece, print=found))
        return parts

    def page(self, span: Span, limit: int) -> list[Run]:
        """Give the first claims of a span, each as the run it lies in."""
        start, stop = self._stamps(span)
        stop = self._shortened(start, stop, limit)
        runs = []
        for origin in range(len(self._universe.streams)):
            for i, j in self._held(origin, start, stop):
                last = self._universe.streams[origin].stamps[j - 1]
                runs.append(Run(origin, i, j, last))
        runs.sort(key=lambda run: run.last)
        return [r for r in runs for _ in range(r.start, r.stop)]

    # How that is found

    def _stamps(self, span: Span) -> tuple[Stamp, Stamp]:
        """Give a span as stamps: a bound with an image is behind it."""
        start, stop = (b.at + 1 if b.image else b.at for b in span)
        return start, min(stop, self._universe.now + 1)

    def _print(self, start: Stamp, stop: Stamp) -> Print:
        everything = self._universe.all
        total = everything.print(everything.upto(start), everything.upto(stop))
        for origin, gaps in self._gaps.items():
            stream = self._universe.streams[origin]
            low, high = stream.upto(start), stream.upto(stop)
            if low < high:
                for i, j in gaps:
                    total -= stream.print(max(i, low), min(j, high))
        if stop > self._universe.now - self._slowest:
            tail = self._on_their_way()
            total -= tail.print(tail.upto(start), tail.upto(stop))
        return Print(total.count, total.sum % SUM_MODULUS)

    def _on_their_way(self) -> Stream:
        """Give what was claimed elsewhere and is not here yet."""
        if self._tail_at != self._universe.now:
            now = self._universe.now
            waiting: list[Stamp] = []
            for origin in self._flowing:
                stream = self._universe.streams[origin]
                waiting += stream.stamps[
                    self.due(origin) : bisect_right(stream.stamps, now)
                ]
            self._tail, self._tail_at = Stream(sorted(waiting)), now
        return self._tail

    def _held(
        self, origin: int, start: Stamp, stop: Stamp
    ) -> Iterator[tuple[int, int]]:
        """Give what is held of one stream, as places from and to."""
        stream = self._universe.streams[origin]
        place, end = stream.upto(start), stream.upto(stop)
        if origin in self._flowing:
            end = min(end, self.due(origin))
        for i, j in self._gaps.get(origin, ()):
            if place < min(i, end):
                yield place, min(i, end)
            place = max(place, j)
        if place < end:
            yield place, end

    def _ends(self, start: Stamp, stop: Stamp) -> tuple[Stamp, Stamp] | None:
        """Give the first and the last stamp that is held of a span."""
        firsts, lasts = [], []
        for origin in range(len(self._universe.streams)):
            stamps = self._universe.streams[origin].stamps
            held = list(self._held(origin, start, stop))
            if held:
                firsts.append(stamps[held[0][0]])
                lasts.append(stamps[held[-1][1] - 1])
        return (min(firsts), max(lasts)) if firsts else None

    def _shortened(self, start: Stamp, stop: Stamp, limit: int) -> Stamp:
        """Give the end of a span before which at most so many are held."""
        if self._print(start, stop).count <= limit:
            return stop
        low, high = start, stop
        while high - low > 1:
            middle = (low + high) // 2
            if self._print(start, middle).count <= limit:
                low = middle
            else:
                high = middle
        return low
