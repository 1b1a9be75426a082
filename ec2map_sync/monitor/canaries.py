"""How the canaries of this region fare, as seen from here now."""

from dataclasses import dataclass

from ec2map_sync.ledger import Ledger, PeerState
from ec2map_sync.monitor.views import TOLERATED, seconds_since
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.settings.values import Bus


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryView:
    """The newest canary of ours that a peer has; None is what is not known."""

    peer: str
    made_at: Stamp | None
    there_after: float | None
    """Seconds until it was recorded there, as far as clocks agree."""
    back_after: float | None
    """Seconds until we were told so."""
    overdue: float | None
    """Seconds for which another one should have been told of."""

    @property
    def state(self) -> str:
        """Whether they come back, in words."""
        if self.made_at is None:
            return "never came back"
        return "comes back" if self.healthy else "does not come back"

    @property
    def healthy(self) -> bool:
        """Whether nobody has to look after the way to that peer, and back."""
        return self.overdue is not None and self.overdue < TOLERATED


def canary_views(ledger: Ledger, bus: Bus, now: Stamp) -> list[CanaryView]:
    """Looks at every peer, if this region has canaries."""
    if not bus.canary_interval:
        return []
    states = ledger.journal.peer_states()
    return [
        _view(
            states.get(peer.name, PeerState(name=peer.name)),
            bus.canary_interval,
            now,
        )
        for peer in bus.peers
    ]


def _view(known: PeerState, interval: int, now: Stamp) -> CanaryView:
    age = seconds_since(known.echoed, now)
    return CanaryView(
        peer=known.name,
        made_at=known.echoed,
        there_after=_between(known.echoed, known.echoed_there_at),
        back_after=_between(known.echoed, known.echoed_at),
        overdue=None if age is None else max(0.0, age - interval),
    )


def _between(start: Stamp | None, end: Stamp | None) -> float | None:
    if start is None or end is None:
        return None
    return max(0.0, (end - start) / 1_000_000)
