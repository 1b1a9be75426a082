"""What a running agent keeps an eye on: its loops, and its ledger's age."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.ledger import Head, Ledger, ServiceState
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import NoHead

LOG = logging.getLogger(__name__)

REPORT_INTERVAL = 5.0
"""Seconds between two notes of a loop that has nothing new to say."""


class Reporter:
    """Notes in the ledger that a loop is alive, and what it waits for."""

    def __init__(
        self,
        ledger: Ledger,
        host: str,
        name: str,
        *,
        clock: Callable[[], Stamp],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._host = host
        self._name = name
        self._clock = clock
        self._monotonic = monotonic
        self._noted: str | None = None
        self._noted_at = float("-inf")
        self._last_error: str | None = None
        self._last_error_at: Stamp | None = None

    def remark(self, text: str) -> None:
        """Has something shown as the last error, of a loop that works."""
        self._last_error, self._last_error_at = text, self._clock()
        self._noted_at = float("-inf")

    def __call__(self, error: str | None) -> None:
        """Notes a step's end; ``error`` is what it failed with, if it did."""
        now = self._monotonic()
        if error == self._noted and now - self._noted_at < REPORT_INTERVAL:
            return
        if error is not None:
            self._last_error, self._last_error_at = error, self._clock()
        state = ServiceState(
            host=self._host,
            name=self._name,
            seen_at=self._clock(),
            working=error is None,
            last_error=self._last_error,
            last_error_at=self._last_error_at,
        )
        try:
            self._ledger.journal.note_service(state)
        except SQLAlchemyError:
            return  # the loop itself finds out, and says so
        self._noted, self._noted_at = error, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A small file that remembers how far the ledger has come.

    A ledger that is behind it was restored from a backup. Its cursors may
    then be ahead of changes that it will make anew; and what the region
    signs next begins anew, which says so to the peers.
    """

    path: Path
    region: str = ""

    def check(self, ledger: Ledger) -> None:
        """Rewinds the sinks' cursors of a ledger that was restored."""
        # The file first: what another process writes meanwhile is newer.
        known = self._read()
        head = _head(ledger)
        if known.get("ledger") == head.identity:
            revision = known.get("revision")
            if isinstance(revision, int) and revision > head.revision:
                LOG.warning(
                    "the ledger is at revision %d, and was at %d: it was "
                    "restored; every sink is gone through again",
                    head.revision,
                    revision,
                )
                ledger.cursors.rewind()
                ledger.statements.forget(self.region)
        elif known:
            LOG.info("the ledger is a new one")
        self._write(head.identity, head.revision, known)
        if known.get("ledger") != head.identity:
            # New here, or restored with all of this machine: who can tell?
            ledger.statements.forget(self.region)

    def _read(self) -> dict[str, object]:
        try:
            known = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}  # none yet, or a crash of the machine has cut it
        return known if isinstance(known, dict) else {}

    def _write(
        self, identity: str, revision: int, known: dict[str, object]
    ) -> None:
        new = {"ledger": identity, "revision": revision}
        if new == known:
            return
        self.path.parent.mkdir(exist_ok=True)
        scratch = self.path.with_suffix(
            f".{os.getpid()}-{threading.get_ident()}"
        )
        scratch.write_text(json.dumps(new))
        scratch.replace(self.path)


def _head(ledger: Ledger) -> Head:
    try:
        return ledger.head()
    except NoHead:
        ledger.copies.mend_totals()
    return ledger.head()
