"""How a peer is, as seen from here now."""

import math
from dataclasses import dataclass

from ec2map_sync.ledger import Ledger, PeerState, Quarantined
from ec2map_sync.ledger.journal import CLOCK_TOLERANCE
from ec2map_sync.protocol.seen import STATES, Seen
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.names import follower_of, source_of
from ec2map_sync.settings.values import Bus

SILENT_AFTER = 20.0
"""Seconds: a loop says something every 5 (see `health`)."""


LATE_AFTER = 5.0
"""Seconds without a heartbeat, at least, after which a peer is late."""

TOLERATED = 60.0
"""Seconds for which peers may differ, and a sink may be behind, before that
counts as unhealthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """A peer as seen from here now.

    ``missing_here`` is what the last comparing has found missing here,
    ``missing_there`` what the peer lacked at its last heartbeat.
    """

    name: str
    state: str
    known: PeerState
    heartbeat_age: float | None
    differs_for: float | None
    """0 if it does not; None if nobody knows for how long."""
    refused: str | None = None
    """Why something of it was refused last, unless all is well."""
    held: int = 0
    """How many entries of the quarantine wait for a decision."""
    contradicts: bool = False
    """Whether it has signed what contradicts what it had signed before."""
    late: str | None = None
    """Why it may soon be silent: what was heard of it is not fresh."""

    @property
    def fresh_state(self) -> str:
        """Its state, before it has been silent for long enough to be so."""
        fine = self.state in {"agrees", "differs"}
        return "late" if fine and self.late else self.state

    @property
    def healthy(self) -> bool:
        """Whether nobody has to look after it."""
        return not (self.held or self.contradicts) and (
            self.state == "agrees"
            or (
                self.state == "differs"
                and self.differs_for is not None
                and self.differs_for < TOLERATED
            )
        )


def claims_differing(view: PeerView, count: int) -> int | None:
    """Returns by how many claims a peer differs, if that can be told.

    ``count`` is how many there are here.
    """
    if view.state == "agrees":
        return 0
    if view.state != "differs" or view.known.total is None:
        return None
    # Two sets of one size may differ too: by how much, nobody has counted.
    return abs(view.known.total - count) or None


def seconds_since(stamp: Stamp | None, now: Stamp) -> float | None:
    """Returns the age of a stamp; None if it is not known.

    That is so also of a stamp from the future, unless by no more than clocks
    may differ: since when a clock was put back, nobody knows.
    """
    age = -math.inf if stamp is None else (now - stamp) / 1_000_000
    return None if age < -CLOCK_TOLERANCE else max(0.0, age)


def peer_views(ledger: Ledger, bus: Bus, now: Stamp) -> list[PeerView]:
    """Looks at every peer: those configured, then those only remembered."""
    states = ledger.journal.peer_states()
    contradicting = ledger.statements.refused(states)
    refusals, held = ledger.quarantine.latest(), ledger.quarantine.held()
    count = ledger.head().total.count
    doubtful = ledger.copies.state().doubtful
    configured = [peer.name for peer in bus.peers]
    names = [*configured, *sorted(states.keys() - set(configured))]
    # The peers' own interval is not known; usually it is ours.
    patience = max(SILENT_AFTER, 4 * bus.heartbeat_interval)
    troubles = _troubles(ledger)
    return [
        _view(
            states.get(name, PeerState(name=name)),
            silent_after=patience if name in configured else None,
            sound=not doubtful,
            now=now,
            count=count,
            refused=refusals.get(source_of(name)),
            held=held.get(source_of(name), 0),
            contradicts=contradicting.get(name),
            fresh=max(LATE_AFTER, 2 * bus.heartbeat_interval + 1),
            trouble=troubles.get(str(follower_of(name))),
        )
        for name in names
    ]


def seen_from_here(ledger: Ledger, bus: Bus, now: Stamp) -> list[Seen]:
    """Returns how this region sees its peers, to be told to others."""
    count = ledger.head().total.count
    return [
        Seen(
            name=view.name,
            state=view.fresh_state,
            agrees_until=view.known.agrees_until,
            lag=claims_differing(view, count),
            canary=view.known.canary,
            canary_at=view.known.canary_at,
            holds=_held_against(ledger, view) if view.contradicts else "",
        )
        for view in peer_views(ledger, bus, now)
        if view.state in STATES
    ]


def _held_against(ledger: Ledger, view: PeerView) -> str:
    """Returns what a peer contradicts, so that it may see what it has lost."""
    known = ledger.statements.of(view.name)
    return str(known.statement) if known else ""


def _troubles(ledger: Ledger) -> dict[str, str]:
    """Returns what loops wait for that work on no host."""
    states = ledger.journal.service_states()
    working = {state.name for state in states if state.working}
    return {
        state.name: state.last_error or "it cannot be reached"
        for state in states
        if state.name not in working
    }


def _view(
    known: PeerState,
    *,
    silent_after: float | None,
    sound: bool,
    now: Stamp,
    count: int,
    refused: Quarantined | None,
    held: int,
    contradicts: str | None,
    fresh: float,
    trouble: str | None,
) -> PeerView:
    age = seconds_since(known.received_at, now)
    if silent_after is None:
        state = "not configured"
    elif known.received_at is None:
        state = "never heard"
    elif age is None or age > silent_after:
        state = "silent"
    else:
        # What is put right here just now may be all that differs.
        agrees = known.differs_since is None and sound
        state = "agrees" if agrees else "differs"
    if trouble is None and age is not None and age > fresh:
        trouble = f"nothing has been heard for {age:.0f} s"
    return PeerView(
        name=known.name,
        late=trouble,
        state=state,
        known=known,
        heartbeat_age=age,
        differs_for=0.0
        if known.differs_since is None
        else seconds_since(known.differs_since, now),
        refused=_contradicts(contradicts)
        if contradicts
        else _held(held)
        if held
        else None
        if state == "agrees"
        else _refused(refused, known, count, heard=state == "differs"),
        held=held,
        contradicts=contradicts is not None,
    )


def _contradicts(why: str) -> str:
    return (
        f"what it has signed is refused: {why}; 'ec2map-sync agreement "
        "history' shows what is kept, the quarantine what it has said"
    )


def _held(entries: int) -> str:
    return (
        f"claims in {entries} messages of it are held, as they would change "
        "too much: 'ec2map-sync quarantine list' says what, 'ec2map-sync "
        "quarantine retry --all' takes them"
    )


def _refused(
    newest: Quarantined | None, known: PeerState, count: int, *, heard: bool
) -> str | None:
    if newest is None:
        return None
    # Why nothing is heard, nothing says that came before what was heard last.
    since = newest.at + CLOCK_TOLERANCE * 1_000_000
    if not heard and since < (known.received_at or 0):
        return None
    lacking = (known.total or 0) - count
    if lacking <= 0:
        return newest.reason
    return f"refuses {lacking} claims of it: {newest.reason}"
