"""Sketches: what two sets of hashes differ by, told in few bytes.

An invertible Bloom lookup table (M. T. Goodrich and M. Mitzenmacher,
"Invertible Bloom Lookup Tables", Allerton 2011): each hash is added to one
bucket of each table. Taken from each other, the sketches of two sets are that
of their difference; if that is small, hash after hash can be peeled off (the
"difference digest" of D. Eppstein and others, "What's the Difference?",
SIGCOMM 2011).
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

from ec2map_sync.rules.claims import HASH_BITS

TABLES = 3

MOST_BUCKETS = 3000
"""Of one table: for some 6,600 differences."""

PRIME = 2**31 - 1
KEYS = range(2**30, 2**31)

MOD_COUNT = 2**16
MOD_SUM = 2**48
MOD_CHECK = 2**16
"""What is told of a bucket; its sum is enough for a hash that it has a
hundred times, as the claims of somebody who looks for such ones may."""

_REPEATED = 100


class Bucket(NamedTuple):
    """How many hashes there are, their sum, and the sum of their checks."""

    hashes: int
    sum: int
    check: int

    def plus(self, other: "Bucket", times: int = 1) -> "Bucket":
        """Adds what another has, so many times."""
        return Bucket(
            (self.hashes + times * other.hashes) % MOD_COUNT,
            (self.sum + times * other.sum) % MOD_SUM,
            (self.check + times * other.check) % MOD_CHECK,
        )


EMPTY = Bucket(0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Which bucket of each table a hash is added to.

    Who asks draws the keys, each time anew: nobody can have made claims that
    share their buckets.
    """

    size: int
    """Buckets of one table."""
    keys: tuple[int, ...]
    """One for each table."""

    @classmethod
    def draw(cls, differences: int) -> "Shape":
        """Makes one for so many differences: 98 of 100 can be peeled."""
        size = int(0.42 * differences + 1.5 * isqrt(differences)) + 8
        keys = (KEYS[secrets.randbelow(len(KEYS))] for _ in range(TABLES))
        return cls(size=min(size, MOST_BUCKETS), keys=tuple(keys))

    @property
    def buckets(self) -> int:
        """How many there are in all tables."""
        return TABLES * self.size

    def square(self, table: int, hash_: int) -> int:
        """Returns what tells a hash's bucket in a table, and is its check.

        As no linear function does it tells a hash from a sum of others, and
        every database can reckon it in 64 bits.
        """
        rest = (hash_ + self.keys[table - 1]) % self.keys[table]
        return rest**2 % PRIME

    def added(self, hash_: int) -> Iterator[tuple[int, Bucket]]:
        """Gives what a hash adds, and to which bucket."""
        for table in range(TABLES):
            square = self.square(table, hash_)
            place = table * self.size + square % self.size
            yield place, Bucket(1, hash_, square)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """The buckets of a set of hashes, table after table."""

    shape: Shape
    buckets: tuple[Bucket, ...]

    def __sub__(self, other: "Sketch") -> "Sketch":
        """Takes from it another one of the same shape."""
        pairs = zip(self.buckets, other.buckets, strict=True)
        rest = tuple(one.plus(two, -1) for one, two in pairs)
        return Sketch(shape=self.shape, buckets=rest)

    @property
    def tables(self) -> list[Sequence[Bucket]]:
        """The buckets of each table."""
        size = self.shape.size
        ends = range(0, len(self.buckets), size)
        return [self.buckets[end : end + size] for end in ends]

    @property
    def is_sound(self) -> bool:
        """Whether all tables may be of the same hashes."""
        return len({_total(table)[:2] for table in self.tables}) == 1

    @property
    def differences(self) -> int:
        """About how many hashes a difference has, also if it is too many.

        So much do the numbers in buckets vary where hashes fall at random,
        whichever of two sets they are in.
        """
        counts = [_signed(b.hashes, MOD_COUNT) for b in self.buckets]
        total = sum(counts) // TABLES
        squares = sum(count * count for count in counts) / TABLES
        return max(abs(total), int(squares - total**2 / self.shape.size), 1)

    def peel(self) -> tuple[set[int], set[int]] | None:
        """Returns which hashes a difference has, of one set and the other.

        None if they are too many, or fall too badly.
        """
        buckets, found = list(self.buckets), dict[int, int]()
        places = list(range(len(buckets)))
        steps = len(buckets)  # who has sent it may mean no good
        while places and steps:
            pure = self._pure(places.pop(), buckets)
            if pure is None:
                continue
            steps -= 1
            hash_, count = pure
            found[hash_] = found.get(hash_, 0) + count
            for at, bucket in self.shape.added(hash_):
                buckets[at] = buckets[at].plus(bucket, -count)
                places.append(at)
        if any(bucket != EMPTY for bucket in buckets):
            return None
        return (
            {hash_ for hash_, count in found.items() if count > 0},
            {hash_ for hash_, count in found.items() if count < 0},
        )

    def _pure(
        self, place: int, buckets: Sequence[Bucket]
    ) -> tuple[int, int] | None:
        """Returns the one hash in a bucket, and how often it is there."""
        count = _signed(buckets[place].hashes, MOD_COUNT)
        if not 0 < abs(count) <= _REPEATED:
            return None
        hash_, rest = divmod(_signed(buckets[place].sum, MOD_SUM), count)
        if rest or not 0 <= hash_ < 1 << HASH_BITS:
            return None
        added = dict(self.shape.added(hash_)).get(place, EMPTY)
        alone = EMPTY.plus(added, count)
        return (hash_, count) if buckets[place] == alone else None


def sketch_of(hashes: Iterable[int], shape: Shape) -> Sketch:
    """Makes the sketch of a set."""
    buckets = [EMPTY] * shape.buckets
    for hash_ in hashes:
        for place, bucket in shape.added(hash_):
            buckets[place] = buckets[place].plus(bucket)
    return Sketch(shape=shape, buckets=tuple(buckets))


def _total(buckets: Sequence[Bucket]) -> Bucket:
    total = EMPTY
    for bucket in buckets:
        total = total.plus(bucket)
    return total


def _signed(value: int, modulus: int) -> int:
    """Returns what is nearest to zero of what a remainder may be of."""
    return value - modulus if 2 * value >= modulus else value
