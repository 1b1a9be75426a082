"""Regions by regions: who agrees with whom, as each of them says."""

from ec2map_sync.api.answers import (
    PeerAnswer,
    RegionAnswer,
    RegionsAnswer,
    moment,
)
from ec2map_sync.monitor.views import (
    PeerView,
    claims_differing,
    peer_views,
    seconds_since,
)
from ec2map_sync.protocol.seen import Seen
from ec2map_sync.region import Region
from ec2map_sync.rules.claims import Stamp

HEARD = ("agrees", "differs")
"""States of a peer whose word is fresh."""


def regions(region: Region, now: Stamp) -> RegionsAnswer:
    """Returns how this region sees its peers, and they see theirs."""
    views = peer_views(region.ledger, region.bus, now)
    count = region.ledger.head().total.count
    here = RegionAnswer(
        name=region.config.region,
        told_at=moment(now),
        peers=[_from_here(view, count, now) for view in views],
    )
    there = [_there(v, now) for v in views if v.state != "not configured"]
    return RegionsAnswer(
        regions=[here, *there], seen_from=here.name, at=moment(now) or ""
    )


def _from_here(view: PeerView, count: int, now: Stamp) -> PeerAnswer:
    known = view.known
    return PeerAnswer(
        name=view.name,
        state=view.fresh_state,
        agrees_until=moment(known.agrees_until),
        lag=claims_differing(view, count),
        lag_seconds=seconds_since(known.agrees_until, now),
        trouble=view.refused or view.late or known.clock,
    )


def _there(view: PeerView, now: Stamp) -> RegionAnswer:
    known = view.known
    heard = view.fresh_state in HEARD
    return RegionAnswer(
        name=view.name,
        told_at=moment(known.sent_at),
        peers=[_told(one, now, heard=heard) for one in known.views],
    )


def _told(seen: Seen, now: Stamp, *, heard: bool) -> PeerAnswer:
    return PeerAnswer(
        name=seen.name,
        state=seen.state if heard else "unknown",
        agrees_until=moment(seen.agrees_until),
        lag=seen.lag if heard else None,
        lag_seconds=seconds_since(seen.agrees_until, now),
        trouble=None,
    )
