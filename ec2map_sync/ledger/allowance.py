"""What the claims of one peer may change, and what they have changed lately.

Counted by our own clock, which no peer sets, never by the stamps of claims;
what a clock has left in the future, when it was put back, counts.
"""

from collections.abc import Sequence
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
"""Seconds for which an eviction counts."""

_e = tables.evictions.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much the claims of a peer may change."""

    peer: str
    max_moves: int
    """Ids that may move in one transaction."""
    max_evictions: int
    """Numbers that images may lose in a day."""
    spent: int = 0
    """So many of them are gone at least, whatever a clock says that was set
    ahead since."""


# Made once: SQLAlchemy takes longer to make a statement than to run it.
_LATELY = _e.at > sa.bindparam("since")
_USED = sa.select(sa.func.count()).where(
    _LATELY, _e.peer == sa.bindparam("by")
)
_SPENT = sa.insert(tables.evictions)


def lately(now: Stamp) -> sa.Select[Any]:
    """Counts the evictions of a day, by peer."""
    count = sa.select(_e.peer, sa.func.count(_e.id)).where(_LATELY)
    return count.group_by(_e.peer).params(since=earlier(now, DAY))


def require_few(moves: Sequence[dict[str, Any]], allowance: Allowance) -> None:
    """Looks at the moves of a transaction.

    :raises TooManyMoves: they are too many.
    """
    if len(moves) > allowance.max_moves:
        images = {str(m[what]) for m in moves for what in ("image", "cause")}
        raise TooManyMoves(
            f"claims would move {len(moves)} ids, [bus] max_moves is "
            f"{allowance.max_moves}",
            frozenset(images),
        )


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
    day = {"since": earlier(now, DAY), "by": peer}
    before = max(connection.execute(_USED, day).scalar_one(), allowance.spent)
    if before + len(evictions) > allowance.max_evictions:
        raise TooManyEvictions(
            f"claims would take {len(evictions)} numbers from images that "
            f"have them, [bus] max_evictions is {allowance.max_evictions} a "
            f"day, {before} of which {peer} has used",
            frozenset[str]().union(*(e.blamed for e in evictions)),
        )
    connection.execute(
        _SPENT,
        [
            {"at": now, "peer": peer, "image": e.image, "number": e.number}
            for e in evictions
        ],
    )
