"""What the demonstration has shown: do all regions agree, and how soon."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ec2map_sync.rules.rows import SinkRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a comparison of all rows of all cells has found."""

    images: int
    missing: tuple[tuple[str, str], ...]
    """(region, image) without a row."""
    differing: tuple[str, ...]
    """Images that have more than one number."""
    foreign: tuple[tuple[str, str], ...]
    """(region, image) of rows for images that nobody has created."""

    @property
    def agree(self) -> int:
        """How many images have one and the same row in every region."""
        bad = {image for _, image in self.missing} | set(self.differing)
        return self.images - len(bad)

    @property
    def is_good(self) -> bool:
        """Whether every image has its row everywhere, and nothing else is."""
        return self.agree == self.images and not self.foreign


def judge(
    images: Collection[str], cells: Mapping[str, Iterable[SinkRow]]
) -> Comparison:
    """Compares all rows: ``cells`` gives those of each region's cell."""
    numbers: dict[str, set[int]] = {image: set() for image in images}
    missing: list[tuple[str, str]] = []
    foreign: list[tuple[str, str]] = []
    for region, rows in cells.items():
        there = set()
        for row in rows:
            there.add(row.uuid)
            if row.uuid in numbers:
                numbers[row.uuid].add(row.number)
            else:
                foreign.append((region, row.uuid))
        missing += [(region, i) for i in numbers if i not in there]
    return Comparison(
        images=len(numbers),
        missing=tuple(missing),
        differing=tuple(i for i, found in numbers.items() if len(found) > 1),
        foreign=tuple(foreign),
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the worst of some delays, in seconds."""

    count: int
    p50: float
    worst: float


def spread(delays: Sequence[float]) -> Spread | None:
    """Sums up delays; None if there are none."""
    if not delays:
        return None
    ordered = sorted(delays)
    return Spread(len(ordered), ordered[len(ordered) // 2], ordered[-1])
