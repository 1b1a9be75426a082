"""Whether a peer holds the same set, told from what its heartbeats say."""

import logging

from ec2map_sync.peers.compare import Pull
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import (
    BEGINNING,
    END,
    EVERYTHING,
    Bound,
    Print,
    Span,
    Stamp,
)

LOG = logging.getLogger(__name__)

PATIENT_HEARTBEATS = 3
"""Heartbeats whose totals differ before a compare looks at everything, also
at what a fast clock somewhere has stamped ahead of the heartbeats."""

MOST_PATIENT_HEARTBEATS = 48
"""The same while claims are always on their way, so that totals never agree:
each such compare then asks for twice as many."""

FAR_BEHIND = 10_000
"""Claims, at least, that a peer lacks which takes over all of ours."""


class Agreement:
    """Whether a peer holds the same set, and whether to look closer."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._agrees = False
        self._said: bool | None = None
        self._mismatches = 0
        self._differs_since: Stamp | None = None
        self._totals_differ = 0
        self._patient = PATIENT_HEARTBEATS
        self._own_total = Print(0, 0)
        self._their_count: int | None = None
        self._let_catch_up = 0
        self._refused = False
        self._barren: object = None
        self._started_by: object = None

    def judge(
        self,
        heartbeat: messages.Heartbeat,
        own: Print,
        own_total: Print,
        *,
        sound: bool = True,
    ) -> bool:
        """Returns whether there is nothing to compare.

        Nothing is agreed upon while our ledger is not known to be
        ``sound``.
        """
        grown = own_total.count > self._own_total.count
        if not grown and own_total != self._own_total:
            self._barren = None  # our ledger was restored, or put right
        self._own_total = own_total
        if heartbeat.total == own_total:
            self._totals_differ = 0
            self._patient = PATIENT_HEARTBEATS
            self._refused = False
        else:
            self._totals_differ += 1
        # What is refused of it may be stamped later than its heartbeats are.
        self._agrees = sound and heartbeat.before == own and not self._refused
        self._mismatches = 0 if self._agrees else self._mismatches + 1
        return self._agrees and self._totals_differ < self._patient

    def _say(self, here: int, there: int) -> None:
        """Logs that agreement has come or gone.

        Claims on their way make heartbeats differ now and then under load;
        only what lasts is worth a line.
        """
        if self._agrees and self._said is not True:
            LOG.info("agrees with %s on all %d claims", self._peer, here)
            self._said = True
        lasts = self._mismatches >= PATIENT_HEARTBEATS
        if lasts and self._said is not False:
            LOG.info(
                "differs from %s: %d claims here, %d there; comparing",
                self._peer,
                here,
                there,
            )
            self._said = False

    def fields(
        self, heartbeat: messages.Heartbeat, own: Print, now: Stamp
    ) -> dict[str, int | None]:
        """Returns what `note_peer` should remember of it, and says it."""
        self._say(own.count, heartbeat.before.count)
        if self._agrees:
            self._differs_since = None
            return {
                "agrees_until": heartbeat.until,
                "differs_since": None,
                "missing_there": 0,
            }
        # The earlier one, where a clock was put back meanwhile.
        self._differs_since = min(self._differs_since or now, now)
        return {
            "differs_since": self._differs_since,
            "missing_there": max(0, own.count - heartbeat.before.count),
        }

    def next_span(self, heartbeat: messages.Heartbeat) -> Span | None:
        """Returns what to compare now; None if the other side has to first.

        After a pull that brought nothing it is the peer that lacks claims:
        asking again helps only once it holds something else.
        """
        self._started_by = (heartbeat.before, heartbeat.total)
        if self._started_by == self._barren:
            return None
        if self._is_catching_up(heartbeat.total.count):
            return None
        if self._agrees:
            self._totals_differ = 0
            self._patient = min(2 * self._patient, MOST_PATIENT_HEARTBEATS)
            return Span(Bound(heartbeat.until), END)
        if self._refused or self._totals_differ >= PATIENT_HEARTBEATS:
            return EVERYTHING
        return Span(BEGINNING, Bound(heartbeat.until))

    def _is_catching_up(self, theirs: int) -> bool:
        """Returns whether to let a peer take over more before we compare.

        Until it has, each heartbeat differs, and both ledgers would be read
        for it; what the peer claims meanwhile comes as messages. Now and then
        we compare all the same, in case one was lost.
        """
        before, self._their_count = self._their_count, theirs
        grows = before is not None and before < theirs
        if not grows or self._own_total.count - theirs < FAR_BEHIND:
            self._let_catch_up = 0
            return False
        self._let_catch_up += 1
        return self._let_catch_up % MOST_PATIENT_HEARTBEATS != 0

    def greet(self) -> None:
        """Notes that a pull begins which no heartbeat has caused."""
        self._started_by = None

    def compared(self, pull: Pull) -> None:
        """Notes that a pull is complete."""
        if pull.refused or pull.everything:
            self._refused = pull.refused > 0
        barren = not (pull.found or pull.refused)
        self._barren = self._started_by if barren else None
