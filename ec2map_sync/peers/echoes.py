"""Canaries as a Follower meets them: a peer's own, and echoes of ours."""

from collections.abc import Callable, Iterable

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.journal import CLOCK_TOLERANCE
from ec2map_sync.protocol.messages import Heartbeat
from ec2map_sync.rules.canaries import space_of
from ec2map_sync.rules.claims import Claim, Stamp


class Echoes:
    """Notes which of a peer's canaries are here, and which of ours are there.

    Stamps come after all that was heard of, so one fast clock has all regions
    stamp ahead: a canary that is here was made by now at the latest. What we
    are told of a time that is still to come would hide for as long that
    nothing arrives: it counts for nothing.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        region: str,
        peer: str,
        clock: Callable[[], Stamp],
    ) -> None:
        self._ledger = ledger
        self._region = region
        self._peer = peer
        self._space = space_of(peer)
        self._clock = clock
        self._noted: dict[str, Stamp] = {}
        """The newest of each that is noted, as far as this process knows."""

    def recorded(self, claims: Iterable[Claim]) -> None:
        """Notes the newest canary of the peer among claims that are in."""
        newest = max(
            (c.claimed_at for c in claims if c.image.startswith(self._space)),
            default=None,
        )
        if newest:
            now = self._clock()
            self._note("canary", min(newest, now), canary_at=now)

    def heard(self, heartbeat: Heartbeat) -> None:
        """Notes that the peer has another of our canaries."""
        told = (s for s in heartbeat.sees if s.name == self._region)
        seen = next(told, None)
        if seen and seen.canary:
            self._note(
                "echoed",
                seen.canary,
                echoed_there_at=seen.canary_at,
                echoed_at=self._clock(),
            )

    def _note(self, what: str, made: Stamp, **times: Stamp | None) -> None:
        """Notes a canary with its times, unless a newer one is noted."""
        to_come = made > self._clock() + CLOCK_TOLERANCE * 1_000_000
        if to_come or made <= self._noted.get(what, 0):
            return
        journal = self._ledger.journal
        known = journal.peer_states().get(self._peer)
        # Another host, or the process before this one, may have noted it.
        newest = (known and getattr(known, what)) or 0
        if made > newest:
            journal.note_peer(self._peer, **{what: made}, **times)
        self._noted[what] = max(made, newest)
