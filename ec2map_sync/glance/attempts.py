"""How often the listener has ended amid what it had taken, in a row.

Each time, the broker delivers that once more, and a quorum queue drops what it
has delivered too often (twenty times, unless told otherwise). So a listener
that ends again and again waits before it takes anything, longer each time.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ec2map_sync.rules.errors import Ec2MapError

FREE = 3
"""Ends in a row after which nothing waits yet: a machine may be restarted."""

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 3600.0
"""Seconds: with these, twenty deliveries take ten hours."""


class AttemptError(Ec2MapError):
    """It is too early for another attempt."""

    at_once = True


class Attempts:
    """Remembers in a small file what the end of a process interrupts."""

    def __init__(
        self, path: Path, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._since = monotonic()
        self._pending = True
        """Whether nothing was brought to its end since the start."""

    def require_rest(self) -> None:
        """Makes sure that another attempt is not too early.

        :raises AttemptError: it is.
        """
        count = self._count() if self._pending else 0
        pause = pause_after(count)
        if self._monotonic() - self._since < pause:
            raise AttemptError(
                f"it has ended {count} times in a row before what it had "
                "taken was recorded, which the broker may drop if that goes "
                f"on: nothing is taken for {pause:.0f} s; why it ended stands "
                "further up in the log, or in the kernel's"
            )

    def begin(self) -> None:
        """Notes that something is in hand; once is enough."""
        if self._pending:
            with suppress(OSError):  # as if it were the first time
                self._path.write_text(str(self._count() + 1))

    def end(self) -> None:
        """Notes that it is not, be it recorded or given back."""
        if self._pending:
            self._pending = False
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _count(self) -> int:
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return 0


def pause_after(count: int) -> float:
    """Returns for how long to wait after so many ends."""
    if count <= FREE:
        return 0.0
    return float(min(FIRST_PAUSE * 3 ** (count - FREE - 1), LONGEST_PAUSE))
