"""What a ledger remembers beside the set: peers, services, quarantine."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import tables
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.running import counters
from ec2map_sync.sql.database import WRITE
from ec2map_sync.sql.statements import delete_in

LOG = logging.getLogger(__name__)

QUARANTINE_LIMIT = 2_000
"""Entries kept of each source; the oldest go first. One that floods us does
not push out what came from another."""

QUARANTINE_BYTES = 64 * 1024 * 1024
"""Bytes kept of each source's bodies."""

QUARANTINE_BODY = 1024 * 1024
"""Bytes kept of a body: what is longer cannot be tried again. Pages of
claims have 700 KB."""

CLOCK_TOLERANCE = 60
"""Seconds: a heartbeat that arrives when it was sent, give or take this,
tells nothing of clocks."""


MAX_HEADERS = 32 * 1024
"""Characters: MySQL's TEXT takes 64 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """What a peer last said, and what comparing with it has found.

    A field that is None is not known (yet). All but the counts are stamps.
    """

    name: str
    received_at: Stamp | None = None
    sent_at: Stamp | None = None
    total: int | None = None
    newest: Stamp | None = None
    agrees_until: Stamp | None = None
    """Everything claimed before this was the same here and there."""
    differs_since: Stamp | None = None
    compared_at: Stamp | None = None
    """When a comparison of everything was last completed."""
    missing_here: int | None = None
    missing_there: int | None = None

    @property
    def clock(self) -> str | None:
        """What is wrong with its clock, or ours, in words."""
        if self.sent_at is None or self.received_at is None:
            return None
        ahead = (self.sent_at - self.received_at) // 1_000_000
        if ahead > CLOCK_TOLERANCE:
            return f"its clock is {ahead} s ahead of ours"
        if ahead < -CLOCK_TOLERANCE:
            return f"its clock is {-ahead} s behind ours, or its messages are"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Something that could not be understood or trusted."""

    source: str
    reason: str
    body: bytes
    headers: Mapping[str, Any] | None = None
    """Those of a message, without which it cannot be tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What one loop of a service last said of itself."""

    host: str
    name: str
    seen_at: Stamp
    working: bool
    last_error: str | None = None
    last_error_at: Stamp | None = None


class Journal:
    """Notes about peers and services, and the quarantine."""

    def __init__(self, engine: Engine, clock: Callable[[], Stamp]) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**WRITE)
        self._clock = clock

    def note_peer(self, peer: str, **fields: int | None) -> None:
        """Remember some fields of a peer's `PeerState`.

        Later stamps follow a peer's newest, so that a new claim never comes
        before one that is still on its way to us.
        """
        head, peers = tables.head, tables.peers
        with self._writing.begin() as connection:
            newest = fields.get("newest") or 0
            connection.execute(
                sa.update(head)
                .where(head.c.last_stamp < newest)
                .values(last_stamp=newest)
            )
            known = connection.execute(
                sa.update(peers).where(peers.c.name == peer).values(**fields)
            )
            if not known.rowcount:
                connection.execute(
                    sa.insert(peers).values(name=peer, **fields)
                )

    def peer_states(self) -> dict[str, PeerState]:
        """Give what is known of every peer that was ever heard."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(tables.peers)).mappings()
            return {row["name"]: PeerState(**row) for row in rows}

    def quarantine(self, entries: Sequence[Quarantined]) -> None:
        """Keep what could not be understood, the newest of each source."""
        if not entries:
            return
        rows = [
            {
                "at": self._clock(),
                "source": _plain(entry.source)[:120],
                "reason": _plain(entry.reason)[:500],
                "body": entry.body[:QUARANTINE_BODY],
                "headers": _headers(entry),
                "size": min(len(entry.body), QUARANTINE_BODY),
            }
            for entry in entries
        ]
        sources = {str(row["source"]) for row in rows}
        with self._writing.begin() as connection:
            connection.execute(sa.insert(tables.quarantine), rows)
            dropped = {
                source: self._make_room(connection, source)
                for source in sorted(sources)
            }
        for source, count in Counter(e.source for e in entries).items():
            counters.QUARANTINED.add(count, source)
        counters.QUARANTINE_DROPPED.add(sum(dropped.values()))
        for source, count in dropped.items():
            if count:
                LOG.warning(
                    "the quarantine is full: the oldest %d entries from %s "
                    "were dropped; see 'ec2map-sync quarantine list' for "
                    "what keeps coming",
                    count,
                    source,
                )

    def _make_room(self, connection: sa.Connection, source: str) -> int:
        """Drop what is too much of a source; tells how many that were."""
        q = tables.quarantine
        newest_first = (
            sa.select(q.c.id, q.c.size)
            .where(q.c.source == source)
            .order_by(q.c.id.desc())
        )
        too_many = []
        size = 0
        for n, (entry, length) in enumerate(connection.execute(newest_first)):
            size += length
            if n >= QUARANTINE_LIMIT or (n and size > QUARANTINE_BYTES):
                too_many.append(entry)
        if not too_many:
            return 0
        connection.execute(
            sa.delete(q).where(q.c.source == source, q.c.id <= max(too_many))
        )
        d = tables.quarantine_dropped
        values = {"at": self._clock(), "count": d.c.count + len(too_many)}
        known = connection.execute(
            sa.update(d).where(d.c.source == source).values(values)
        )
        if not known.rowcount:
            connection.execute(
                sa.insert(d).values(
                    source=source, at=self._clock(), count=len(too_many)
                )
            )
        return len(too_many)

    def release(self, entries: Collection[int]) -> None:
        """Take entries out of the quarantine."""
        q = tables.quarantine
        with self._writing.begin() as connection:
            delete_in(connection, q.c.id, entries)

    def forget_peer(self, peer: str) -> bool:
        """Drop what is remembered of a peer; tells whether that was any."""
        p, s = tables.peers, tables.services
        with self._writing.begin() as connection:
            done = [
                connection.execute(sa.delete(p).where(p.c.name == peer)),
                connection.execute(
                    sa.delete(s).where(s.c.name == f"follower of {peer}")
                ),
            ]
        return any(result.rowcount for result in done)

    def note_service(self, state: ServiceState) -> None:
        """Remember what a loop says of itself."""
        s = tables.services
        key = (s.c.host == state.host, s.c.name == state.name)
        values: dict[str, Any] = {
            "seen_at": state.seen_at,
            "working": state.working,
        }
        if state.last_error is not None:  # else keep what another has noted
            values |= {
                "last_error": _plain(state.last_error)[:500],
                "last_error_at": state.last_error_at,
            }
        with self._writing.begin() as connection:
            known = connection.execute(
                sa.update(s).where(*key).values(**values)
            )
            if not known.rowcount:
                connection.execute(
                    sa.insert(s).values(
                        host=state.host, name=state.name, **values
                    )
                )

    def service_states(self) -> list[ServiceState]:
        """Give what every loop of every host last said of itself."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(tables.services)).mappings()
            return [ServiceState(**row) for row in rows]


def _headers(entry: Quarantined) -> str | None:
    if entry.headers is None:
        return None
    try:
        text = json.dumps(dict(entry.headers), default=str)
    except (TypeError, ValueError, RecursionError):
        return "{}"  # names that are no text, or nested as none of ours
    # Those of a message of ours are 300 bytes; longer ones are not worth it.
    return text if len(text) < MAX_HEADERS else "{}"


def _plain(text: str) -> str:
    """Write text so that every database takes it: it may quote anything."""
    escaped = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in escaped)
