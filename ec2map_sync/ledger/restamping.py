"""Restamping: the way back of a ledger that a wrong clock has spoiled.

What was stamped more than a day ahead, no other region has whose clock is
right: it refuses it. So its stamps may be others, as long as their order is
the same, and they stay later than all that is right: who has which number
depends on the order alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.ledger import Ledger
from ec2map_sync.rules.claims import Claim, SeenKind, Stamp, Wanted
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.rules.stamps import MAX_AHEAD
from ec2map_sync.sql.errors import again

_c = tables.claims.c
_STAMPS = (_c.claimed_at, _c.wanted_at, _c.kind_at)


class CannotRestamp(Ec2MapError):
    """What other regions have stamped is ahead of the clock as well."""

    def __init__(self, images: int) -> None:
        super().__init__(
            f"nothing is restamped: {images} claims of other regions are more "
            "than 24 h ahead too, so it may be the clock here that is "
            "behind; set it, or, if their clocks were ahead as well, use "
            "--theirs in each of those regions"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestampOutcome:
    """What was stamped ahead, and is not any more."""

    claims: int
    moved: int = 0


@again
def restamp(
    ledger: Ledger, now: Stamp, *, dry_run: bool, theirs: bool = False
) -> RestampOutcome:
    """Brings stamps that are too far ahead back to the present.

    ``theirs``: those of regions as well whose clocks were ahead together
    with ours. Each of them does so; as all keep the order, what they join
    of it has the same.

    :raises CannotRestamp: it looks as if our clock were wrong now.
    """
    limit = now + MAX_AHEAD
    with ledger.recording() as (connection, recording):
        images, others = _ahead(connection, limit)
        if others and not theirs:
            raise CannotRestamp(len(others))
        images += others
        newest = max(now, _newest(connection, limit))
        spoiled = images or recording.last_stamp >= limit
        if dry_run or not spoiled:
            return RestampOutcome(claims=len(images))
        recording.look_up(images)
        claims = [recording.known[image].claim for image in images]
        news, last = _brought_back(claims, limit, newest)
        recording.restamp(news, last)
        recording.commit()
        return RestampOutcome(claims=len(images), moved=len(recording.moved))


def _ahead(
    connection: Connection, limit: Stamp
) -> tuple[list[str], list[str]]:
    """Returns which images of ours are ahead, and which of others."""
    ahead = sa.or_(*(column >= limit for column in _STAMPS))
    rows = connection.execute(
        sa.select(_c.image, _c.own_revision).where(ahead)
    ).all()
    return (
        [image for image, revision in rows if revision is not None],
        [image for image, revision in rows if revision is None],
    )


def _newest(connection: Connection, limit: Stamp) -> Stamp:
    """Returns the largest stamp that is right."""
    return max(
        connection.scalar(sa.select(sa.func.max(column)).where(column < limit))
        or 0
        for column in _STAMPS
    )


def _brought_back(
    claims: Iterable[Claim], limit: Stamp, newest: Stamp
) -> tuple[Mapping[str, Claim], Stamp]:
    """Returns claims whose stamps follow ``newest``, in the same order."""
    claims = list(claims)
    found = sorted({s for c in claims for s in _stamps(c) if s >= limit})
    new = {stamp: newest + n for n, stamp in enumerate(found, start=1)}

    def at(stamp: Stamp) -> Stamp:
        return new.get(stamp, stamp)

    back = {
        claim.image: replace(
            claim,
            claimed_at=at(claim.claimed_at),
            wanted=claim.wanted
            and Wanted(at(claim.wanted.at), claim.wanted.number),
            kind=claim.kind and SeenKind(at(claim.kind.at), claim.kind.kind),
        )
        for claim in claims
    }
    return back, newest + len(found)


def _stamps(claim: Claim) -> list[Stamp]:
    wanted = [claim.wanted.at] if claim.wanted else []
    kind = [claim.kind.at] if claim.kind else []
    return [claim.claimed_at, *wanted, *kind]
