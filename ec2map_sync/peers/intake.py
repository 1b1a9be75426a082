"""The intake: what a peer claims is recorded, within its allowance."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from ec2map_sync.ledger import Allowance, Ledger
from ec2map_sync.ledger.allowance import DAY
from ec2map_sync.peers.refusals import Refusals
from ec2map_sync.rules.claims import Claim, join_all
from ec2map_sync.rules.errors import TooManyEvictions, TooManyMoves

LOG = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often what changes too much is parted from the rest of a message."""


class Taken(NamedTuple):
    """What has become of claims."""

    news: int
    held: int = 0
    put_away: int = 0
    """How many of the held ones were not held before."""
    why: str = ""


class Intake:
    """Records what one peer claims; holds what would change too much.

    The ledger counts. What this process has seen counts too: else a clock
    that is set ahead would begin another day.
    """

    def __init__(
        self,
        ledger: Ledger,
        refusals: Refusals,
        allowance: Allowance,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._refusals = refusals
        self._allowance = allowance
        self._monotonic = monotonic
        self._spent: deque[tuple[float, int, int]] = deque()

    def take(self, batches: Sequence[Sequence[Claim]]) -> Taken:
        """Records some messages' claims, in one transaction if it may."""
        allowance = self._now_allowed()
        try:
            together = list(chain.from_iterable(batches))
            return Taken(self._record(together, allowance))
        except TooManyMoves:
            each = [self._part(batch) for batch in batches]
        taken = Taken(
            news=sum(one.news for one in each),
            held=sum(one.held for one in each),
            put_away=sum(one.put_away for one in each),
            why=max(one.why for one in each),
        )
        if taken.put_away:
            LOG.warning(
                "%s: %d claims are held, as its %s; 'ec2map-sync quarantine "
                "retry' takes them",
                allowance.peer,
                taken.put_away,
                taken.why,
            )
        return taken

    def _part(self, claims: Sequence[Claim]) -> Taken:
        """Records a message, but for claims that change too much.

        Who is to blame for what, settling tells: it may take a second look
        at what is left.
        """
        rest, held = join_all(claims), list[Claim]()
        allowed, why, news = self._now_allowed(), "", 0
        for _ in range(ATTEMPTS):
            try:
                news = self._record(list(rest.values()), allowed)
                break
            except TooManyMoves as error:
                why = why or str(error)
                allowed = _none_of(error, allowed)
                blamed = error.images & rest.keys() or set(rest)
                held += [rest.pop(image) for image in sorted(blamed)]
        else:
            held += rest.values()
        fresh = self._refusals.hold(allowed.peer, held, why) if held else 0
        return Taken(news, len(held), fresh, why)

    def _record(self, claims: Sequence[Claim], allowance: Allowance) -> int:
        done = self._ledger.record(claims, allowance=allowance)
        moved = done.moved + done.renamed
        if moved or done.evicted:
            self._spent.append((self._monotonic(), moved, done.evicted))
        return done.news

    def _now_allowed(self) -> Allowance:
        day_ago = self._monotonic() - DAY
        while self._spent and self._spent[0][0] <= day_ago:
            self._spent.popleft()
        return replace(
            self._allowance,
            moved=sum(moved for _, moved, _ in self._spent),
            evicted=sum(evicted for _, _, evicted in self._spent),
        )


def _none_of(error: TooManyMoves, allowed: Allowance) -> Allowance:
    """Returns what the rest of a message may change still."""
    if isinstance(error, TooManyEvictions):
        return replace(allowed, max_evictions=0)
    return replace(allowed, max_moves=0)
