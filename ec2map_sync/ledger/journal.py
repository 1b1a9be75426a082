"""What a ledger remembers beside the set: peers and services."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.part import Part, note
from ec2map_sync.protocol.seen import Seen, seen_from_json
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.names import follower_of
from ec2map_sync.rules.stamps import MAX_AHEAD
from ec2map_sync.sql.errors import again

CLOCK_TOLERANCE = 60
"""Seconds: a heartbeat that arrives when it was sent, give or take this,
tells nothing of clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """What a peer last said, and what comparing with it has found.

    A field that is None is not known (yet). All numbers but the counts are
    stamps.
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
    sees: str | None = None
    """How it sees its peers, as it has written that."""
    canary: Stamp | None = None
    """When the newest of its canaries that is recorded here was made."""
    canary_at: Stamp | None = None
    """When it was recorded, by our clock."""
    echoed: Stamp | None = None
    """When the newest of our canaries that it has was made."""
    echoed_there_at: Stamp | None = None
    """When that was recorded there, by its clock."""
    echoed_at: Stamp | None = None
    """When we were told so, by ours."""

    @property
    def views(self) -> tuple[Seen, ...]:
        """How it sees its peers."""
        return seen_from_json(json.loads(self.sees or "[]"))

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


class Journal(Part):
    """Notes about peers and services."""

    @again
    def note_peer(self, peer: str, **fields: int | str | None) -> None:
        """Remembers some fields of a peer's `PeerState`.

        Later stamps follow a peer's newest, so that a new claim never comes
        before one that is still on its way to us; not if it is absurd. A
        claim that was stamped by a wrong clock is refused itself: all else
        that the peer says of its claims still counts.
        """
        head = tables.head
        with self._writing.begin() as connection:
            newest = int(fields.get("newest") or 0)
            if newest >= self._clock() + MAX_AHEAD:
                newest = 0
            connection.execute(
                sa.update(head)
                .where(head.c.last_stamp < newest)
                .values(last_stamp=newest)
            )
            note(connection, tables.peers, {"name": peer}, fields)

    def peer_states(self) -> dict[str, PeerState]:
        """Returns what is known of every peer that was ever heard."""
        rows = self._rows(sa.select(tables.peers))
        return {row.name: PeerState(**row._mapping) for row in rows}

    def forget_peer(self, peer: str) -> bool:
        """Drops what is remembered of a peer; tells whether that was any."""
        p, s = tables.peers, tables.services
        gone = self._write(
            sa.delete(p).where(p.c.name == peer),
            sa.delete(s).where(s.c.name == str(follower_of(peer))),
        )
        return gone > 0

    @again
    def note_service(self, state: ServiceState) -> None:
        """Remembers what a loop says of itself."""
        key = {"host": state.host, "name": state.name}
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
            note(connection, tables.services, key, values)

    def service_states(self) -> list[ServiceState]:
        """Returns what every loop of every host last said of itself."""
        rows = self._rows(sa.select(tables.services))
        return [ServiceState(**row._mapping) for row in rows]


def plain(text: str) -> str:
    """Writes text so that every database takes it: it may quote anything."""
    escaped = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in escaped)
