"""What is not taken in from peers: put away, each thing once."""

import json
import logging
import re
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from hashlib import blake2b
from typing import TypeVar

from ec2map_sync.ledger import HELD, Ledger, Quarantined
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.names import source_of

LOG = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

REMEMBERED = 200
"""Refused messages and claims that are known again when they are repeated."""

MOST_HELD = 10_000
"""Held claims that are: each comparing brings them again."""

TOGETHER = 4_000
"""Held claims in an entry, at most: their 800 KB are kept whole."""

SAY_AGAIN = 3600.0
"""Seconds after which what is still refused is put away once more: somebody
may have dropped it since."""

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
        self._held: dict[Claim, float] = {}

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
        _remember(self._known, fresh, now, REMEMBERED)
        LOG.warning(
            "%d messages or claims %s are in quarantine: %s; see "
            "'ec2map-sync quarantine list'",
            len(fresh),
            self._whose,
            next(reversed(fresh.values())).reason,
        )

    def hold(self, peer: str, claims: Sequence[Claim], why: str) -> int:
        """Lets claims of one message wait together for an operator.

        Gives how many of them are new there.
        """
        now, known = self._monotonic(), self._held
        fresh = [
            claim
            for claim in claims
            if claim not in known or now - known[claim] >= SAY_AGAIN
        ]
        if not fresh:
            return 0
        self._ledger.quarantine.put(
            [
                _held(peer, fresh[start : start + TOGETHER], why)
                for start in range(0, len(fresh), TOGETHER)
            ]
        )
        _remember(known, fresh, now, MOST_HELD)
        return len(fresh)


def _held(peer: str, claims: Sequence[Claim], why: str) -> Quarantined:
    return Quarantined(
        source=source_of(peer),
        reason=f"{HELD}{why}; these {len(claims)} wait: if that is right, "
        "'ec2map-sync quarantine retry' takes them",
        body=json.dumps([messages.claim_to_json(c) for c in claims]).encode(),
    )


def _remember(
    known: dict[K, float], keys: Iterable[K], now: float, most: int
) -> None:
    """Notes what was put away; the newest stand last."""
    for key in keys:
        known.pop(key, None)
        known[key] = now
    while len(known) > most:
        known.pop(next(iter(known)))


def _what_repeats(one: Quarantined) -> tuple[str, bytes]:
    """Returns what is the same when a thing is said again."""
    said = (one.headers or {}).get("type")
    if isinstance(said, str) and said in _ROUTINE:
        # A stamp that is wrong is another one each time.
        return _STAMP.sub("#", one.reason), b""
    return one.reason, blake2b(one.body).digest()
