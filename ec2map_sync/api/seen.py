"""Looks that cost something, shared by all who want to see them."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """What was seen last, and is looked at again when it is too old.

    One looks at a time; the others get what was seen before. Only who comes
    before anything was seen waits.
    """

    def __init__(
        self,
        look: Callable[[], T],
        max_age: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._max_age = max_age
        self._monotonic = monotonic
        self._looking = threading.Lock()
        self._seen: tuple[float, T] | None = None

    def get(self) -> T:
        """Returns what is seen; an error of looking is whoever looks' own."""
        seen = self._seen
        now = self._monotonic()
        if seen is not None and now - seen[0] < self._max_age:
            return seen[1]
        if not self._looking.acquire(blocking=seen is None):
            assert seen is not None
            return seen[1]
        try:
            if self._seen is not seen:  # somebody has looked meanwhile
                return self.get_seen()
            try:
                found = self._look()
            except Exception:
                self._seen = None  # nobody is told what is no longer so
                raise
            self._seen = (self._monotonic(), found)
            return found
        finally:
            self._looking.release()

    def get_seen(self) -> T:
        """Returns what was seen last, however old."""
        assert self._seen is not None
        return self._seen[1]
