"""What the demonstration shows: values between its story and its picture."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ec2map_sync.demo.comparison import Comparison, Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionView:
    """One region at one moment."""

    name: str
    seen: int
    """Images that its Glance has announced, copies included."""
    claims: int
    rows: int
    linked: tuple[str, ...]
    """Peers that it hears, and that hear it."""
    cut: tuple[str, ...]
    delay: float | None
    """Seconds from image.create to the newest row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All regions at one moment."""

    title: str
    done: int
    total: int
    regions: tuple[RegionView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image of the final table."""

    image: str
    story: str
    ids: tuple[str, ...]
    """What Nova answers, by region."""
    alone: tuple[str, ...]
    """What it would have answered by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How long after image.create a region had the row."""

    region: str
    own: Spread | None
    remote: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Everything that there is to tell in the end."""

    regions: tuple[str, ...]
    samples: tuple[Sample, ...]
    delays: tuple[Delays, ...]
    comparison: Comparison
    agree_alone: int
    """Images with one id everywhere, had Nova been alone."""
    copies: int
    ready: int
    """Copies whose row was there before Glance announced them."""
    trouble: str = ""

    @property
    def is_good(self) -> bool:
        """Whether everything went as it has to."""
        return self.comparison.is_good and not self.trouble


class Screen(Protocol):
    """Where it is shown."""

    def watch(self, look: Callable[[], View]) -> AbstractContextManager[None]:
        """Shows the regions while the story goes on."""

    def part(self, title: str) -> None:
        """Begins a part."""

    def say(self, text: str) -> None:
        """Tells what happens, in one sentence."""

    def end(self, ending: Ending) -> None:
        """Shows the tables and the comparison."""
