"""When each process of an agent was last heard of, in memory they share."""

import mmap
import time
from collections.abc import Callable, Sequence

_SIZE = 8
"""Bytes of a double: written at once, so that nobody reads half of it."""


class Pulse:
    """When each process last said that its loops run.

    Made before the processes are forked. What the kernel tells of a process,
    that it lives, holds of one that hangs as well; this does not.
    """

    def __init__(
        self,
        processes: Sequence[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = {name: n for n, name in enumerate(processes)}
        self._monotonic = monotonic
        size = max(1, len(processes)) * _SIZE
        self._beats = memoryview(mmap.mmap(-1, size)).cast("d")
        for name in processes:
            self.beat(name)

    def beat(self, process: str) -> None:
        """Is heard of; a process that nobody expects is not missed either."""
        if process in self._places:
            self._beats[self._places[process]] = self._monotonic()

    def silent(self, seconds: float) -> list[str]:
        """Returns the processes that were not heard of for so long."""
        since = self._monotonic() - seconds
        return [
            name
            for name, place in self._places.items()
            if self._beats[place] < since
        ]
