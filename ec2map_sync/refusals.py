"""What is refused goes to the quarantine, each thing once."""

import logging
from collections.abc import Sequence
from hashlib import blake2b

from ec2map_sync.ledger import Ledger, Quarantined

LOG = logging.getLogger(__name__)

REMEMBERED = 200
"""Things refused that are not put away again when they are repeated."""
_ROUTINE = frozenset({"heartbeat", "compare"})
"""Types that come all day long, each time with another body."""


class Refusals:
    """Puts away what one side has sent and cannot be trusted.

    A peer with another key sends heartbeats and questions all day long, and
    a claim stamped too far ahead comes again with every compare: kept each
    time, they would drive everything else out of the quarantine.
    """

    def __init__(self, ledger: Ledger, whose: str) -> None:
        self._ledger = ledger
        self._whose = whose
        self._known: dict[tuple[str, bytes], None] = {}

    def put_away(self, bad: Sequence[Quarantined]) -> None:
        """Quarantine what is new of this, and say so."""
        fresh = []
        for one in bad:
            routine = (one.headers or {}).get("type") in _ROUTINE
            digest = b"" if routine else blake2b(one.body).digest()
            key = (one.reason, digest)
            if key not in self._known:
                fresh.append(one)
                self._known[key] = None
        while len(self._known) > REMEMBERED:
            self._known.pop(next(iter(self._known)))
        if fresh:
            self._ledger.journal.quarantine(fresh)
            LOG.warning(
                "%d messages or claims %s are in quarantine: %s; see "
                "'ec2map-sync quarantine list'",
                len(fresh),
                self._whose,
                fresh[-1].reason,
            )
