"""What is not taken in from peers: put away once, and held if it moves ids."""

import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b

from ec2map_sync.ledger import Ledger, Quarantined
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import Claim, join_all
from ec2map_sync.rules.errors import TooManyMoves

LOG = logging.getLogger(__name__)

REMEMBERED = 200
"""Refused messages and claims that are known again when they are repeated."""

SAY_AGAIN = 3600.0
"""Seconds after which what is still refused is put away once more: somebody
may have dropped it since."""

ATTEMPTS = 3
"""How often what moves ids is parted from the rest of a message."""

_ROUTINE = frozenset({"heartbeat", "compare"})
"""Types that come all day long, each time with another body."""

_STAMP = re.compile(r"\d{10,}")


class Refusals:
    """Puts away what one side says and we refuse, each thing once.

    A peer with another key sends heartbeats and questions all day long, and
    a claim stamped too far ahead comes again with every compare: kept each
    time, they would drive everything else out of the quarantine.
    """

    def __init__(
        self,
        ledger: Ledger,
        whose: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._whose = whose
        self._monotonic = monotonic
        self._known: dict[tuple[str, bytes], float] = {}

    def put_away(self, refused: Sequence[Quarantined]) -> None:
        """Quarantines what was not refused lately."""
        now = self._monotonic()
        lately = {k for k, at in self._known.items() if now - at < SAY_AGAIN}
        fresh = {
            key: one
            for one in refused
            if (key := _what_repeats(one)) not in lately
        }
        if not fresh:
            return
        self._ledger.quarantine.put(list(fresh.values()))
        # Only now: had it failed, they would come again.
        for key in fresh:
            self._known.pop(key, None)  # the newest stand last
            self._known[key] = now
        while len(self._known) > REMEMBERED:
            self._known.pop(next(iter(self._known)))
        LOG.warning(
            "%d messages or claims %s are in quarantine: %s; see "
            "'ec2map-sync quarantine list'",
            len(fresh),
            self._whose,
            next(reversed(fresh.values())).reason,
        )


def _what_repeats(one: Quarantined) -> tuple[str, bytes]:
    """Returns what is the same when a thing is said again."""
    said = (one.headers or {}).get("type")
    if isinstance(said, str) and said in _ROUTINE:
        # A stamp that is wrong is another one each time.
        return _STAMP.sub("#", one.reason), b""
    return one.reason, blake2b(one.body).digest()


def take(
    ledger: Ledger, claims: Sequence[Claim], source: str, max_moves: int
) -> tuple[int, Quarantined | None]:
    """Records the claims of one message; gives what was news, and held.

    If they moved more than ``max_moves`` ids, only those are recorded that
    move none; the others wait for an operator, together.
    """
    try:
        return ledger.record(claims, max_moves=max_moves).news, None
    except TooManyMoves as error:
        moves, involved = error.count, error.images
    rest, news = join_all(claims), 0
    held: list[Claim] = []
    for _ in range(ATTEMPTS):
        movers = involved & rest.keys() or set(rest)
        held += [rest.pop(image) for image in sorted(movers)]
        try:
            news = ledger.record(rest.values(), max_moves=0).news
        except TooManyMoves as error:
            involved = error.images
        else:
            break
    else:
        held += rest.values()
    return news, Quarantined(
        source=source,
        reason=f"held: these {len(held)} claims are part of a message that "
        f"would move {moves} ids, [bus] max_moves is {max_moves}; if that is "
        "right, 'ec2map-sync quarantine retry' takes them",
        body=json.dumps([messages.claim_to_json(c) for c in held]).encode(),
    )
