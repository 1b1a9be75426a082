"""What a peer wastes of our time, it waits for: others need not.

The threads that hear the peers share a process, in which one thread at a time
runs Python: whoever sends rubbish as fast as it can would have all of it.
"""

import time
from collections.abc import Callable

REFUSED = 9.0
"""Seconds of rest for each that was spent on what was refused in the end: a
tenth of the time is all that anybody can waste."""

KNOWN = 1.0
"""The same, spent on what was known already."""

AMONG_OTHERS = 1.0
"""The same, spent on what was refused where others wait behind it: each rest
is one for them as well."""

MOST = 5.0
"""Seconds: RabbitMQ ends a connection that takes nothing for 15."""


class Throttle:
    """Measures what messages cost, and rests after those that were of no use.

    ``cpu`` gives the seconds of CPU that the calling thread has used, by
    default as the system counts them.
    """

    def __init__(
        self,
        cpu: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cpu = cpu
        self._sleep = sleep
        self._due = 0.0

    def spend(self, work: Callable[[], float]) -> None:
        """Does some work, which tells what it was good for.

        It returns how many seconds of rest are due for each that it took,
        such as `REFUSED`; or none at all.
        """
        begun = self._cpu()
        rests = work()
        self._due = min(MOST, self._due + rests * (self._cpu() - begun))

    def rest(self, patience: float) -> bool:
        """Rests for ``patience`` seconds at most; whether it had to."""
        due = min(self._due, patience)
        if due:
            self._sleep(due)
            self._due -= due
        return due > 0
