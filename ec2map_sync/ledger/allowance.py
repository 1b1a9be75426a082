"""What the claims of one peer may change, and what they have changed lately.

Counted by our own clock, which no peer sets, never by the stamps of claims;
what a clock has left in the future, when it was put back, counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import tables
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import TooManyEvictions, TooManyMoves
from ec2map_sync.rules.settle import Eviction
from ec2map_sync.rules.stamps import earlier

DAY = 24 * 3600.0
"""Seconds for which an eviction, or a move, counts."""

MANY = 10
"""So many adoptions as one message may bring are an operator's, in a day: by
default, of 10,000 images."""

_MOVES = "*"
"""Ends the name under which a peer's moves are counted in the table of
evictions: no region's name has it."""

_e = tables.evictions.c
_LONGEST = 64
"""Characters of a name there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much the claims of a peer may change."""

    peer: str
    max_moves: int
    """Ids that may move in one transaction; MANY times as many in a day."""
    max_evictions: int
    """Numbers that images may lose in a day."""
    moved: int = 0
    evicted: int = 0
    """So many are gone at least, whatever a clock says that was set ahead
    since."""


# Made once: SQLAlchemy takes longer to make a statement than to run it.
_LATELY = _e.at > sa.bindparam("since")
_USED = sa.select(sa.func.count()).where(
    _LATELY, _e.peer == sa.bindparam("by")
)
_SPENT = sa.insert(tables.evictions)


def lately(now: Stamp) -> sa.Select[Any]:
    """Counts the evictions of a day, by peer."""
    count = sa.select(_e.peer, sa.func.count(_e.id)).where(
        _LATELY, ~_e.peer.endswith(_MOVES)
    )
    return count.group_by(_e.peer).params(since=earlier(now, DAY))


def spend_moves(
    connection: Connection,
    moves: Sequence[Mapping[str, Any]],
    allowance: Allowance,
    now: Stamp,
) -> None:
    """Records moves in a transaction that has locked the head row.

    :raises TooManyMoves: they are too many, or would be for one day.
    """
    if not moves:
        return
    images = {str(m[what]) for m in moves for what in ("image", "cause")}
    too_many = f"claims would move {len(moves)} ids, [bus] max_moves "
    if len(moves) > allowance.max_moves:
        raise TooManyMoves(
            f"{too_many}is {allowance.max_moves}", frozenset(images)
        )
    account = allowance.peer[: _LONGEST - 1] + _MOVES
    before = max(_used(connection, account, now), allowance.moved)
    most = MANY * allowance.max_moves
    if before + len(moves) > most:
        raise TooManyMoves(
            f"{too_many}allows {most} in a day, {before} of which "
            f"{allowance.peer} has used",
            frozenset(images),
        )
    _note(connection, account, now, ((m["image"], m["old"]) for m in moves))


def spend(
    connection: Connection,
    evictions: Sequence[Eviction],
    allowance: Allowance,
    now: Stamp,
) -> None:
    """Records evictions in a transaction that has locked the head row.

    :raises TooManyEvictions: they would be too many for one day.
    """
    if not evictions:
        return
    peer = allowance.peer
    before = max(_used(connection, peer, now), allowance.evicted)
    if before + len(evictions) > allowance.max_evictions:
        raise TooManyEvictions(
            f"claims would take {len(evictions)} numbers from images that "
            f"have them, [bus] max_evictions is {allowance.max_evictions} a "
            f"day, {before} of which {peer} has used",
            frozenset[str]().union(*(e.blamed for e in evictions)),
        )
    _note(connection, peer, now, ((e.image, e.number) for e in evictions))


def _used(connection: Connection, account: str, now: Stamp) -> int:
    day = {"since": earlier(now, DAY), "by": account}
    return int(connection.execute(_USED, day).scalar_one())


def _note(
    connection: Connection,
    account: str,
    now: Stamp,
    lost: Iterable[tuple[str, int]],
) -> None:
    rows = [
        {"at": now, "peer": account, "image": image, "number": number}
        for image, number in lost
    ]
    connection.execute(_SPENT, rows)
