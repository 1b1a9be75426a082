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
from ec2map_sync.region import Region
from ec2map_sync.rules.claims import Stamp


def regions(region: Region, now: Stamp) -> RegionsAnswer:
    """Returns how this region sees its peers."""
    views = peer_views(region.ledger, region.bus, now)
    count = region.ledger.head().total.count
    here = RegionAnswer(
        name=region.config.region,
        told_at=moment(now),
        peers=[_seen(view, count, now) for view in views],
    )
    return RegionsAnswer(
        regions=[here], seen_from=here.name, at=moment(now) or ""
    )


def _seen(view: PeerView, count: int, now: Stamp) -> PeerAnswer:
    known = view.known
    return PeerAnswer(
        name=view.name,
        state=view.state,
        agrees_until=moment(known.agrees_until),
        lag=claims_differing(view, count),
        lag_seconds=seconds_since(known.agrees_until, now),
        trouble=view.refused or known.clock,
    )
