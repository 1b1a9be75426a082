"""The gate: whether new claims may be made already."""

import logging
from collections.abc import Callable, Sequence

from ec2map_sync.ledger import Ledger, PeerState
from ec2map_sync.rules.claims import Stamp

LOG = logging.getLogger(__name__)

USUAL = 5_000_000
"""Microseconds after a start within which peers are compared with."""


class Gate:
    """Holds back new claims until the set is as complete as it can be.

    A ledger that was emptied or restored would otherwise hand out numbers
    that are in use. A peer that cannot be reached is waited for so long.
    """

    def __init__(
        self,
        ledger: Ledger,
        peers: Sequence[str],
        *,
        since: Stamp,
        wait: float,
        clock: Callable[[], Stamp],
    ) -> None:
        self._ledger = ledger
        self._peers = peers
        self._since = since
        self._until = since + int(wait * 1_000_000)
        self._clock = clock
        self._open = not peers
        self._said = False

    def is_open(self) -> bool:
        """Tell whether claims may be made; stays open once it is."""
        if not self._open:
            late = self._late()
            self._open = not late or self._clock() >= self._until
            if self._open and late:
                LOG.warning(
                    "claims are made without having compared with %s, who "
                    "did not answer within [bus] claim_wait; see "
                    "'ec2map-sync peer list'",
                    ", ".join(late),
                )
            elif not self._open:
                self._say(late)
        return self._open

    def _say(self, late: Sequence[str]) -> None:
        """Say once what is waited for, if that takes longer than usual."""
        if self._said or self._clock() < self._since + USUAL:
            return
        self._said = True
        LOG.info(
            "nothing is claimed or written before this ledger was compared "
            "with %s, or [bus] claim_wait is over in %d s",
            ", ".join(late),
            (self._until - self._clock()) // 1_000_000,
        )

    def _late(self) -> list[str]:
        states = self._ledger.journal.peer_states()
        compared = {n for n, state in states.items() if self._is_in(state)}
        return [name for name in self._peers if name not in compared]

    def _is_in(self, state: PeerState) -> bool:
        """Tell whether we hold what a peer held when we started.

        A heartbeat that agrees says it as well: of several hosts of a
        region, only the one that reads the answers compares.
        """
        if (state.compared_at or 0) >= self._since:
            return True
        heard = min(state.received_at or 0, state.agrees_until or 0)
        return state.differs_since is None and heard >= self._since
