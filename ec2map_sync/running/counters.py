"""What the processes of an agent count, for Prometheus.

A call stands where an effect has been committed, once for a batch. Until
`start` nothing is counted and prometheus-client is not even imported:
commands pay nothing. What a ledger can tell is not counted but asked for,
see `gauges`.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ec2map_sync.rules.names import GLANCE, REQUESTS

PREFIX = "ec2map_sync_"

SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
)
"""Buckets of delays: a bus within a region takes milliseconds; an outage, or
an audit that finds what was lost, takes minutes and hours."""

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

ALL: "list[Counter | Histogram]" = []
"""Every one that there is."""


class Counter:
    """Only ever goes up, also when the process that counts is killed."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name = f"{PREFIX}{name}"
        self.text = text
        self.labels = labels
        self._series: Any = None
        ALL.append(self)

    def add(self, amount: float, *labels: str) -> None:
        """Counts so many; 0 lets Prometheus see the series before it moves."""
        if self._series is not None:
            _labelled(self._series, labels).inc(amount)

    def begin(self) -> None:
        """Counts from now on."""
        from prometheus_client import Counter as Series  # noqa: PLC0415, slow

        self._series = Series(self.name, self.text, self.labels, registry=None)


class Histogram:
    """How values are spread."""

    def __init__(
        self,
        name: str,
        text: str,
        *labels: str,
        buckets: tuple[float, ...] = SECONDS,
    ) -> None:
        self.name = f"{PREFIX}{name}"
        self.text = text
        self.labels = labels
        self._buckets = buckets
        self._series: Any = None
        ALL.append(self)

    def observe(self, value: float, *labels: str) -> None:
        """Notes one value."""
        if self._series is not None:
            _labelled(self._series, labels).observe(value)

    def since(self, stamp: int, *labels: str) -> None:
        """Notes the seconds since a stamp; a clock ahead of ours counts 0."""
        if self._series is not None:
            age = time.time() - stamp / 1_000_000
            self.observe(max(0.0, age), *labels)

    def begin(self) -> None:
        """Observes from now on."""
        from prometheus_client import Histogram as Series  # noqa: PLC0415

        self._series = Series(
            self.name,
            self.text,
            self.labels,
            buckets=self._buckets,
            registry=None,
        )


def _labelled(series: Any, labels: tuple[str, ...]) -> Any:
    return series.labels(*labels) if labels else series


NOTIFICATIONS = Counter(
    "notifications_total",
    "Notifications of Glance that were dealt with.",
    "type",
    "outcome",
)
BATCH_SIZE = Histogram(
    "notification_batch_size",
    "Notifications recorded in one transaction.",
    buckets=SIZES,
)
NOTIFICATION_DELAY = Histogram(
    "notification_to_ledger_seconds",
    "From the oldest notification of a batch to the ledger's commit.",
)
CLAIMS = Counter(
    "claims_recorded_total", "Claims that were news to the ledger.", "origin"
)
PUBLISHED = Counter(
    "claims_published_total",
    "Claims of this region that its broker has taken over.",
)
PEER_DELAY = Histogram(
    "peer_claim_to_ledger_seconds",
    "From a peer's claim, the first of a batch, to our ledger's commit.",
    "peer",
)
SINK_DELAY = Histogram(
    "claim_to_sink_seconds",
    "From the oldest claim of a batch to the sink's commit.",
    "sink",
)
ROWS = Counter(
    "sink_rows_total",
    "Rows that were written to a sink or removed from it.",
    "sink",
    "change",
)
MISSING_ROWS = Counter(
    "sink_rows_missing_total",
    "Rows that the audit of a sink has missed there, and written again.",
    "sink",
)
COMPARES = Counter(
    "compares_total", "Compares with a peer that were completed.", "peer"
)
COMPARE_FOUND = Counter(
    "compare_claims_found_total",
    "Claims that were missing or older here, found by comparing.",
    "peer",
)
QUARANTINED = Counter(
    "quarantined_total",
    "What could not be understood or trusted, and was put away.",
    "source",
)
QUARANTINE_DROPPED = Counter(
    "quarantine_dropped_total",
    "Entries that have made room in a full quarantine.",
)
RETRIES = Counter(
    "retries_total",
    "Steps that failed and are tried again, by who failed them.",
    "loop",
    "cause",
)
STALLS = Counter(
    "listener_stalls_total",
    "Listeners that were started anew because nothing reached them.",
)
API_REQUESTS = Counter(
    "api_requests_total",
    "Questions by HTTP that were answered, by operation and status.",
    "operation",
    "status",
)
API_SECONDS = Histogram(
    "api_request_seconds",
    "From a question by HTTP to its answer.",
    "operation",
)
STARTS = Counter(
    "process_starts_total",
    "Processes started; more than one of a kind: they were killed or died.",
    "process",
)

KNOWN_AT_START: "Mapping[Counter, tuple[tuple[str, ...], ...]]" = {
    CLAIMS: (("notifications",), ("audit",), ("sinks",), ("peers",)),
    QUARANTINED: ((GLANCE,), (REQUESTS,)),
}
"""Series that exist before anything is counted: an alert on a rise does not
see the first step of one that appears with it."""


def counting() -> bool:
    """Returns whether a measurement that costs something is of any use."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ


_FILE_SIZE = 1 << 18
"""Bytes of each file: room for a thousand series, buckets counted."""


def start(directory: Path, process: str) -> None:
    """Counts from now on, in files of this directory.

    ``process`` names this process among those of the agent. One that is
    started in its place goes on with its file, so that no sum ever falls
    and no files pile up, however often a process dies.

    :raises OSError: there is no room for the files.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    # Only now: it looks for that variable when it is imported.
    from prometheus_client import values  # noqa: PLC0415

    for kind in ("counter", "histogram"):
        _allocate(directory / f"{kind}_{process}.db")
    make: Any = values.MultiProcessValue  # which has no types
    values.ValueClass = make(lambda: process)
    for metric in ALL:
        metric.begin()
    for counter, series in KNOWN_AT_START.items():
        for labels in series:
            counter.add(0, *labels)


def _allocate(path: Path) -> None:
    """Takes the room now: a full disk kills who writes to a mapped file."""
    with path.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, _FILE_SIZE)
