"""What a ledger remembers beside the set: peers and services."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import tables
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.names import follower_of
from ec2map_sync.rules.stamps import MAX_AHEAD
from ec2map_sync.sql.database import WRITE

LOG = logging.getLogger(__name__)

CLOCK_TOLERANCE = 60
"""Seconds: a heartbeat that arrives when it was sent, give or take this,
tells nothing of clocks."""


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
class ServiceState:
    """What one loop of a service last said of itself."""

    host: str
    name: str
    seen_at: Stamp
    working: bool
    last_error: str | None = None
    last_error_at: Stamp | None = None


class Journal:
    """Notes about peers and services."""

    def __init__(self, engine: Engine, clock: Callable[[], Stamp]) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**WRITE)
        self._clock = clock

    def note_peer(self, peer: str, **fields: int | None) -> None:
        """Remember some fields of a peer's `PeerState`.

        Later stamps follow a peer's newest, so that a new claim never comes
        before one that is still on its way to us; not if it is absurd.
        """
        head, peers = tables.head, tables.peers
        with self._writing.begin() as connection:
            newest = fields.get("newest") or 0
            if newest >= self._clock() + MAX_AHEAD:
                newest = 0
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

    def forget_peer(self, peer: str) -> bool:
        """Drop what is remembered of a peer; tells whether that was any."""
        p, s = tables.peers, tables.services
        with self._writing.begin() as connection:
            done = [
                connection.execute(sa.delete(p).where(p.c.name == peer)),
                connection.execute(
                    sa.delete(s).where(s.c.name == str(follower_of(peer)))
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
                "last_error": plain(state.last_error)[:500],
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


def plain(text: str) -> str:
    """Write text so that every database takes it: it may quote anything."""
    escaped = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in escaped)
