"""A cloud of many regions, played without a server: an event at a time.

`readers.py` has what a region does; here are the claims, the links between
the regions, and what happens to them.
"""

import heapq
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from random import Random

from paper import (
    CLAIM_BYTES,
    ENVELOPE_BYTES,
    HEARTBEAT_BYTES,
    MICROSECONDS,
    NOW,
    Paper,
    Plan,
)
from readers import Beat, Reader, Region
from shelf import Shelf, Universe

from ec2map_sync.peers.bus import PREFETCH
from ec2map_sync.peers.publisher import SETTLED_AFTER
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import EVERYTHING

RETRY = 5.0
"""Seconds within which a reader notices that a link is there again."""


class Feed:
    """How the claims of a region are put into messages."""

    def __init__(self, stamps: Sequence[int], plan: Plan) -> None:
        opened = full = 0
        number = 0
        # For each claim, how many messages have gone before its own.
        self._message = array("l")
        for stamp in stamps:
            if (
                stamp >= opened + plan.window * MICROSECONDS
                or full >= plan.batch
            ):
                opened, full, number = stamp, 0, number + 1
            full += 1
            self._message.append(number)
        self.count = number

    def messages(self, start: int, stop: int) -> int:
        """Count the messages that hold neighbouring claims."""
        if start >= stop:
            return 0
        return self._message[stop - 1] - self._message[start] + 1

    def bytes(self, start: int, stop: int) -> int:
        """Count their bytes."""
        return (
            self.messages(start, stop) * ENVELOPE_BYTES
            + (stop - start) * CLAIM_BYTES
        )

    def after(self, start: int, count: int, newest: int) -> int:
        """Give the place after so many messages more."""
        if start >= newest:
            return newest
        wanted = self._message[start] + count
        return min(newest, bisect_left(self._message, wanted))

    def after_bytes(self, start: int, over: int) -> int:
        """Give the place after so many bytes more."""
        stop = start
        while self.bytes(start, stop) < over:
            stop = self.after(stop, PREFETCH, len(self._message))
        return stop


class Cloud:
    """Regions, the links between them, and what happens when.

    Of the pairs of regions that nothing happens to, one in ``sample`` is
    played, and counts for all of them.
    """

    def __init__(
        self,
        plan: Plan,
        made: Sequence[Sequence[int]],
        *,
        seed: int,
        sample: int = 1,
        history: Sequence[int] = (),
    ) -> None:
        self.plan = plan
        self.now = 0.0
        self.backlog = 0
        self.counts: Counter[str] = Counter()
        self.universe = Universe([history, *made])
        self.feeds = [Feed(s.stamps, plan) for s in self.universe.streams]
        self._random = Random(seed)
        self._sample = sample
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._pass(0.0)
        paper = Paper(plan)
        delay = int(paper.delay * MICROSECONDS)
        numbers = range(1, plan.regions + 1)
        self.regions = {
            n: Region(
                n,
                Shelf(self.universe, {m: delay for m in numbers if m != n}),
                max(plan.access - paper.bytes_out, plan.access / 100),
            )
            for n in numbers
        }
        for own in self.regions.values():
            for peer in self.regions.values():
                if own is not peer and not self._random.randrange(sample):
                    self._reader(own, peer, sample)
            self.at(
                self._random.random() * plan.heartbeat,
                partial(self._beat, own),
            )

    def _reader(self, own: Region, peer: Region, weight: int) -> Reader:
        reader = own.readers.get(peer.number)
        if reader is None:
            reader = Reader(self, own, peer, weight)
            own.readers[peer.number] = reader
        reader.weight = weight
        return reader

    def place(self, region: Region) -> int:
        """Count the claims that a region has made so far."""
        return self.universe.streams[region.number].upto(self.universe.now)

    def tally(self, what: str, by: int) -> None:
        """Count something."""
        self.counts[what] += by

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Do something then."""
        heapq.heappush(self._heap, (moment, next(self._order), act))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._heap and self._heap[0][0] <= until:
            self._pass(self._heap[0][0])
            heapq.heappop(self._heap)[2]()
        self._pass(until)

    def _pass(self, moment: float) -> None:
        self.now = moment
        self.universe.now = NOW + int(moment * MICROSECONDS)

    def carry(
        self,
        source: Region,
        target: Region,
        size: int,
        act: Callable[[], None],
    ) -> None:
        """Send so many bytes, and do something when they have arrived."""
        left = source.outward.serve(self.now, size / source.access)

        def come() -> None:
            self.at(target.inward.serve(self.now, size / target.access), act)

        self.at(left + self.plan.trip, come)

    def _beat(self, region: Region) -> None:
        """Send a heartbeat, as the Publisher does."""
        until = self.universe.now - SETTLED_AFTER
        total = region.shelf.print_of(EVERYTHING)
        message = messages.Heartbeat(
            until=until,
            before=region.shelf.print_before(until),
            total=total,
            newest=self.universe.now,
        )
        beat = Beat(self.place(region), message)
        self.tally("heartbeats", self.plan.peers)
        self.tally("bytes of heartbeats", self.plan.peers * HEARTBEAT_BYTES)
        for peer in self.regions.values():
            reader = peer.readers.get(region.number)
            if reader:
                arrives = self.now + self.plan.trip
                self.at(arrives, partial(reader.hear, beat))
        for reader in region.readers.values():
            reader.step()
        self.at(self.now + self.plan.heartbeat, lambda: self._beat(region))

    # What happens to links

    def _around(self, number: int) -> list[Reader]:
        """Give the readers at both ends of all links of a region."""
        region = self.regions[number]
        readers = []
        for other in self.regions.values():
            if other is not region:
                readers.append(self._reader(region, other, 1))
                readers.append(self._reader(other, region, 1))
        return readers

    def isolate(self, number: int) -> None:
        """Cut a region off from all others."""
        for reader in self._around(number):
            reader.cut()

    def slow_down(self, number: int, access: float) -> None:
        """Give a region a slow access link, in bytes per second."""
        self.regions[number].access = access
        for reader in self._around(number):
            reader.slow_down()

    def reconnect(self, number: int) -> None:
        """Bring it back; each reader notices at its own time."""
        for reader in self._around(number):
            self.at(self.now + self._random.uniform(0, RETRY), reader.heal)

    def holes(self) -> int:
        """Count what is lacking anywhere of what all should have by now."""
        until = self.universe.now - SETTLED_AFTER
        return sum(r.shelf.holes(until) for r in self.regions.values())

    def agree(self) -> bool:
        """Tell whether the last heartbeats of all that are played agreed."""
        return all(
            reader.agrees
            for region in self.regions.values()
            for reader in region.readers.values()
        )

    def settle(self, most: float) -> float | None:
        """Let time pass until nothing is lacking; the seconds it took."""
        begun = self.now
        while self.now < begun + most:
            self.run(self.now + 1)
            if not self.holes() and not any(
                reader.down
                for region in self.regions.values()
                for reader in region.readers.values()
            ):
                return self.now - begun
        return None
