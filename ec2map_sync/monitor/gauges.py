"""What the ledger knows, measured when Prometheus asks.

So it is the same truth whichever process has brought it about, a command's
included, and nothing is left over of a process that has died.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.ledger import PUBLISHING, Ledger
from ec2map_sync.ledger.queries import Backlog
from ec2map_sync.monitor.canaries import canary_views
from ec2map_sync.monitor.views import peer_views, seconds_since
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.rules.names import LoopName, is_cell
from ec2map_sync.running.counters import PREFIX
from ec2map_sync.settings.values import Bus

PEER_STATES = ("agrees", "differs", "silent", "never heard")
"""As `status` calls them; exactly one of them is 1."""

Family = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Gauge:
    """A measured value; one whose name ends in _total only goes up."""

    name: str
    text: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As Prometheus calls it."""
        return f"{PREFIX}{self.name}"

    def family(self) -> Family:
        """Makes one without values."""
        total = self.name.endswith("_total")
        kind = CounterMetricFamily if total else GaugeMetricFamily
        return kind(self.full_name, self.text, labels=self.labels)


Measured = tuple[Gauge, float | None, tuple[str, ...]]
"""A value, and what labels it; None if it is not known."""

LEDGER_UP = Gauge(
    "ledger_up", "Whether the ledger has answered; without it, no others."
)
KNOWN_CLAIMS = Gauge("claims", "Claims in the ledger.")
REVISION = Gauge("ledger_revision", "Changes of the ledger so far.")
MOVES = Gauge("moves_total", "Numbers of images that have changed.")
CONTRADICTIONS = Gauge(
    "ledger_contradictions_total",
    "Found where the ledger contradicted itself, and put right.",
)
CHECKED = Gauge(
    "ledger_checked_seconds",
    "Since all copies of rows were last held against the rows.",
)
PEER_STATE = Gauge(
    "peer_state", "1 for the state that a peer is in.", ("peer", "state")
)
PEER_HEARD = Gauge(
    "peer_heartbeat_age_seconds", "Since a peer's last heartbeat.", ("peer",)
)
PEER_AGREES = Gauge(
    "peer_agreement_lag_seconds",
    "Age of the moment until which a peer is known to hold the same.",
    ("peer",),
)
PEER_DIFFERS = Gauge(
    "peer_differs_seconds",
    "Since when a peer's claims have differed; 0 if they agree.",
    ("peer",),
)
PEER_MISSING = Gauge(
    "peer_claims_missing",
    "Claims found missing, here or there, when last compared.",
    ("peer", "where"),
)
PEER_HELD = Gauge(
    "peer_held_entries",
    "Entries of the quarantine with claims that wait for a decision.",
    ("peer",),
)
PEER_EVICTIONS = Gauge(
    "peer_evictions",
    "Numbers that images have lost by a peer's claims in 24 hours.",
    ("peer",),
)
PEER_CONTRADICTS = Gauge(
    "peer_contradicts",
    "1 if a peer has signed what contradicts what it had signed before.",
    ("peer",),
)
CANARY_THERE = Gauge(
    "canary_delivery_seconds",
    "What our newest canary that a peer has took to get there.",
    ("peer",),
)
CANARY_BACK = Gauge(
    "canary_echo_seconds",
    "What it took until the peer had told us so.",
    ("peer",),
)
CANARY_OVERDUE = Gauge(
    "canary_overdue_seconds",
    "Since when the peer should have told us of another one.",
    ("peer",),
)
SINK_LAG = Gauge(
    "sink_lag_numbers", "Numbers that a sink has not come to yet.", ("sink",)
)
SINK_LAG_SECONDS = Gauge(
    "sink_lag_seconds", "Age of the oldest of them; 0 if none.", ("sink",)
)
SINK_REVISION = Gauge(
    "sink_revision", "The ledger's revision that a sink has.", ("sink",)
)
PUBLISHER_LAG = Gauge(
    "publisher_lag_claims", "Own claims that are not published yet."
)
PUBLISHER_LAG_SECONDS = Gauge(
    "publisher_lag_seconds", "Age of the oldest of them; 0 if none."
)
DIVERGENCES = Gauge(
    "divergences",
    "Rows that are not as settled; kept: an operator leaves them so.",
    ("sink", "class", "kept"),
)
QUARANTINE = Gauge(
    "quarantine_entries", "What lies in quarantine now.", ("source",)
)
LOOP_WORKING = Gauge(
    "loop_working", "Whether a loop works, or waits for something.", ("loop",)
)
LOOP_SEEN = Gauge(
    "loop_seen_seconds", "Since a loop last gave a sign of life.", ("loop",)
)


def families(samples: Iterable[Measured]) -> Iterable[Family]:
    """Puts values in their families; leaves out what is not known."""
    found: dict[Gauge, Family] = {}
    for gauge, value, labels in samples:
        if value is not None:
            family = found.setdefault(gauge, gauge.family())
            family.add_metric(labels, value)
    return found.values()


@dataclass(eq=False)
class LedgerGauges(Collector):
    """Asks the ledger anew at each scrape: a few short statements.

    ``sinks`` gives their names. Of the loops only those of ``host`` count
    that have given a sign of life in this run of its agent.
    """

    _ledger: Ledger
    _bus: Bus
    _sinks: Callable[[], Sequence[str]]
    _host: str
    since: Stamp
    clock: Callable[[], Stamp]

    def collect(self) -> Iterable[Family]:
        """Measures everything; without the ledger, only that it is away."""
        try:
            samples = [*self._samples(), (LEDGER_UP, 1.0, ())]
        except (SQLAlchemyError, Ec2MapError):
            samples = [(LEDGER_UP, 0.0, ())]
        return families(samples)

    def _samples(self) -> Iterator[Measured]:
        queries = self._ledger.queries
        head = self._ledger.head()
        yield KNOWN_CLAIMS, head.total.count, ()
        yield REVISION, head.revision, ()
        yield MOVES, queries.move_count(), ()
        yield from self._copies()
        yield from self._peers()
        yield from self._canaries()
        cursors = queries.cursors()
        sinks = self._sinks()
        for sink in sinks:
            yield SINK_REVISION, cursors.get(sink, 0), (sink,)
            waiting = queries.numbers_after(cursors.get(sink, 0))
            yield SINK_LAG, waiting.count, (sink,)
            yield SINK_LAG_SECONDS, self._age(waiting), (sink,)
        if self._bus.publishes:
            waiting = queries.own_claims_after(cursors.get(PUBLISHING, 0))
            yield PUBLISHER_LAG, waiting.count, ()
            yield PUBLISHER_LAG_SECONDS, self._age(waiting), ()
        divergences = self._ledger.divergences.counts()
        for (sink, name, kept), count in divergences.items():
            yield DIVERGENCES, count, (sink, name, str(kept).lower())
        for source, count in self._ledger.quarantine.counts().items():
            yield QUARANTINE, count, (source,)
        yield from self._loops(sinks)

    def _copies(self) -> Iterator[Measured]:
        state = self._ledger.copies.state()
        yield CONTRADICTIONS, state.found, ()
        yield CHECKED, seconds_since(state.completed_at, self.clock()), ()

    def _peers(self) -> Iterator[Measured]:
        now = self.clock()
        evictions = self._ledger.queries.evictions_lately(now)
        for view in peer_views(self._ledger, self._bus, now):
            if view.state not in PEER_STATES:
                continue  # retired, and not forgotten yet
            peer, known = view.name, view.known
            for state in PEER_STATES:
                yield PEER_STATE, float(state == view.state), (peer, state)
            yield PEER_HEARD, view.heartbeat_age, (peer,)
            lag = seconds_since(known.agrees_until, now)
            yield PEER_AGREES, lag, (peer,)
            yield PEER_DIFFERS, view.differs_for, (peer,)
            yield PEER_MISSING, known.missing_here, (peer, "here")
            yield PEER_MISSING, known.missing_there, (peer, "there")
            yield PEER_HELD, view.held, (peer,)
            yield PEER_CONTRADICTS, float(view.contradicts), (peer,)
            yield PEER_EVICTIONS, evictions.get(peer, 0), (peer,)

    def _canaries(self) -> Iterator[Measured]:
        for view in canary_views(self._ledger, self._bus, self.clock()):
            yield CANARY_THERE, view.there_after, (view.peer,)
            yield CANARY_BACK, view.back_after, (view.peer,)
            overdue = math.inf if view.overdue is None else view.overdue
            yield CANARY_OVERDUE, overdue, (view.peer,)

    def _loops(self, sinks: Sequence[str]) -> Iterator[Measured]:
        now = self.clock()
        # What a loop says after a clock was put back is noted by it.
        self.since = min(self.since, now)
        for state in self._ledger.journal.service_states():
            sink = LoopName.read(state.name).subject
            retired = is_cell(sink) and sink not in sinks
            ours = state.host == self._host and state.seen_at >= self.since
            if ours and not retired:
                yield LOOP_WORKING, float(state.working), (state.name,)
                seen = seconds_since(state.seen_at, now)
                yield (
                    LOOP_SEEN,
                    math.inf if seen is None else seen,
                    (state.name,),
                )

    def _age(self, waiting: Backlog) -> float | None:
        if not waiting.count:
            return 0.0
        return seconds_since(waiting.oldest, self.clock())
