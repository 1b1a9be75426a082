"""The plan of faults: what is done when, as the seed has it."""

from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from faults import KINDS, Kind

LONGEST_ROUND = 180.0
FAULTY = 0.8
"""The part of a round in which faults are done; then all comes to rest."""


@dataclass(frozen=True)
class Event:
    """A fault that is to be done at a moment of a round."""

    at: float
    kind: Kind
    lasts: float
    seed: str


@dataclass(frozen=True)
class Plan:
    """Rounds of faults; each ends with a quiet moment."""

    seed: int
    seconds: float
    pause: float
    """Seconds from a fault to the next one, in the mean."""
    only: Collection[str] = ()
    """The kinds of fault to choose from; all of them if none is named."""

    @property
    def rounds(self) -> int:
        """How many there are at least."""
        return max(1, round(self.seconds / LONGEST_ROUND))

    @property
    def round_seconds(self) -> float:
        """How long one is."""
        return self.seconds / self.rounds

    @property
    def kinds(self) -> list[Kind]:
        """Those that there is time for."""
        return [
            kind
            for name, kind in sorted(KINDS.items())
            if (not self.only or name in self.only)
            and kind.settles < self.round_seconds
        ]

    @property
    def left_out(self) -> list[str]:
        """Those that take too long to settle."""
        return sorted(KINDS.keys() - {kind.name for kind in self.kinds})

    def events(self, number: int) -> list[Event]:
        """Give the faults of a round, in order."""
        chance = Random(f"{self.seed}/{number}")
        kinds = self.kinds
        weights = [kind.weight for kind in kinds]
        found: list[Event] = []
        at = chance.expovariate(1 / self.pause)
        while at < FAULTY * self.round_seconds:
            (kind,) = chance.choices(kinds, weights)
            seed = f"{self.seed}/{number}/{len(found)}"
            lasts = chance.uniform(*kind.lasts)
            found.append(Event(at, kind, lasts, seed))
            at += chance.expovariate(1 / self.pause)
        return found
