"""The bookkeeper: goes through the ledger, and notices what is not right."""

import time
from collections.abc import Callable

from ec2map_sync.ledger.copies import Place
from ec2map_sync.ledger.ledger import Ledger
from ec2map_sync.rules.names import BOOKKEEPER

ROWS_AT_ONCE = 1000
"""Rows looked at in one step; there is one in a second."""

COUNT_INTERVAL = 60.0
"""Seconds between two counts of all claims."""

SHARE = 100
"""A count takes at most this part of the time: of more claims than some ten
million it is made less often."""

ROUND_PAUSE = 60.0
"""Seconds between two rounds."""


class Bookkeeper:
    """Holds copies of rows against the rows, a page at each step.

    One host does it at a time, and goes on where the last one has stopped.
    If anything was found, everything is gone through at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._copies = ledger.copies
        self._monotonic = monotonic
        self._count_at = self._begin_at = float("-inf")

    def step(self) -> bool:
        """Looks at one page, if it is time to; True if more are urgent."""
        with self._ledger.cursors.reader(str(BOOKKEEPER)) as reader:
            if reader is None:
                return False  # another host does it
            self._count()
            return self._look()

    def _count(self) -> None:
        began = self._monotonic()
        if began < self._count_at:
            return
        if not self._copies.look_at_totals():
            self._copies.mend_totals()
        took = self._monotonic() - began
        pause = max(COUNT_INTERVAL, SHARE * took)
        self._count_at = self._monotonic() + pause

    def _look(self) -> bool:
        state = self._copies.state()
        if not state.doubtful and self._monotonic() < self._begin_at:
            return False
        page = self._copies.look(Place.read(state.position), ROWS_AT_ONCE)
        if page.suspects:
            self._copies.mend(page.suspects)
        self._copies.move_on(page, since=state)
        if page.next is None:
            self._begin_at = self._monotonic() + ROUND_PAUSE
        return state.doubtful and page.next is not None
