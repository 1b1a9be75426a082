"""The gate: whether this ledger was compared with everybody's already."""

import logging
import time
from collections.abc import Callable, Sequence

from ec2map_sync.ledger import Ledger, PeerState
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.names import source_of

LOG = logging.getLogger(__name__)

USUAL = 5.0
"""Seconds after a start within which peers are compared with."""

LOOK = 0.2
"""Seconds between two looks of who waits."""


def is_compared(state: PeerState | None, since: Stamp, now: Stamp) -> bool:
    """Returns whether we hold what a peer held at some moment since a stamp.

    A comparison that was completed says so. So does a heartbeat that agrees:
    of several hosts of a region, only the one that reads the answers
    compares. It counts from when it came, if the Follower could see that it
    was new, or from the moment of which it speaks where that is earlier.

    What is noted of a time to come tells nothing: a clock was put back since,
    and the note may be as old as the backup that it comes from.
    """
    if state is None:
        return False
    agreed_at = min(state.received_at or 0, state.agrees_until or 0)
    agrees = state.differs_since is None and since <= agreed_at <= now
    return agrees or since <= (state.compared_at or 0) <= now


def late(
    ledger: Ledger,
    peers: Sequence[str],
    since: Stamp,
    now: Stamp,
    *,
    but_for_held: bool = False,
) -> list[str]:
    """Returns the peers that were not compared with since a stamp.

    ``but_for_held`` leaves out those who differ by what lies in quarantine
    here: it may be all that they differ by.
    """
    states = ledger.journal.peer_states()
    refused = ledger.quarantine.latest() if but_for_held else {}

    def is_late(peer: str) -> bool:
        state = states.get(peer)
        if is_compared(state, since, now):
            return False
        heard = state and since <= (state.received_at or 0) <= now
        return not (heard and source_of(peer) in refused)

    return [peer for peer in peers if is_late(peer)]


class Gate:
    """Holds back new claims until the set is as complete as it can be.

    A ledger that was emptied or restored would otherwise hand out numbers
    that are in use. A peer that cannot be reached is waited for so long:
    ``wait`` in seconds. ``started`` is when the agent was, by ``monotonic``:
    clocks are set, and most of all soon after a start. ``but_for_held`` is as
    for `late`.
    """

    def __init__(
        self,
        ledger: Ledger,
        peers: Sequence[str],
        *,
        started: float,
        wait: float,
        clock: Callable[[], Stamp],
        monotonic: Callable[[], float] = time.monotonic,
        but_for_held: bool = False,
    ) -> None:
        self._ledger = ledger
        self._peers = peers
        self._started = started
        self._patience = wait
        self._clock = clock
        self._monotonic = monotonic
        self._began = monotonic()
        self._but_for_held = but_for_held
        self._open = not peers
        self._said = False

    def is_open(self) -> bool:
        """Returns whether claims may be made; stays open once it is."""
        if not self._open:
            now = self._clock()
            ran = int((self._monotonic() - self._started) * 1_000_000)
            missing = late(
                self._ledger,
                self._peers,
                now - ran,
                now,
                but_for_held=self._but_for_held,
            )
            self._open = not missing or self._left() <= 0
            if self._open and missing:
                LOG.warning(
                    "claims are made without having compared with %s, who "
                    "did not answer within [bus] claim_wait; see "
                    "'ec2map-sync peer list'",
                    ", ".join(missing),
                )
            elif not self._open:
                self._say(missing)
        return self._open

    def wait(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Returns when it is open."""
        while not self.is_open():
            sleep(LOOK)

    def _left(self) -> float:
        """Returns the seconds that are left to wait."""
        return self._patience - (self._monotonic() - self._began)

    def _say(self, missing: Sequence[str]) -> None:
        """Says once what is waited for, if that takes longer than usual."""
        if self._said or self._patience - self._left() < USUAL:
            return
        self._said = True
        LOG.info(
            "nothing is claimed or written before this ledger was compared "
            "with %s, or [bus] claim_wait is over in %d s",
            ", ".join(missing),
            self._left(),
        )
