"""Regions that know their key and mean no good, or whose clock is mad.

What they do to the others is bounded: `losses` are counted by looking at the
numbers from outside, apart from what the package counts.
"""

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from random import Random
from uuid import UUID

from ec2map_sync.ledger.allowance import DAY
from ec2map_sync.operate.quarantine import Retrial
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Claim, SeenKind, Wanted, believe_none
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.selection import ALL_IMAGES
from ec2map_sync.rules.settle import settle
from simulation.bus import Outlet
from simulation.faults import Crash, Outage
from simulation.region import Region, Wrong

LATEST = 5 * 3600
"""Seconds by which a stamp may be ahead and be believed still, also by who
has a clock that is as much behind as honest ones may be."""


def attack(outlaw: Region, honest: Sequence[Region], rng: Random) -> str:
    """Claim numbers that others use; push it, or keep it for who compares."""
    victim = rng.choice(honest)
    used = [(i, n) for i, n in victim.numbers.items() if n is not None]
    if not used:
        return "finds nobody to attack"
    some = rng.sample(used, min(len(used), rng.choice([1, 2, 5, 20])))
    claims = [_claim(victim, image, n, rng) for image, n in some]
    how = rng.choice(["push", "keep", "both"])
    if how != "push":
        outlaw.ledger.record(claims)
        outlaw.observe()
    if how != "keep":
        _push(outlaw, claims, rng.choice([1, 3, 20]))
    return f"attacks {victim.name}: {how} {len(claims)} claims"


def _claim(victim: Region, image: str, number: int, rng: Random) -> Claim:
    """Make a claim that is after an image's number."""
    past = rng.randrange(1, victim.clock())
    future = victim.clock() + rng.randrange(LATEST) * 1_000_000
    at = rng.choice([1, past, past, future])
    stranger = str(UUID(int=rng.getrandbits(128), version=4))
    another = rng.choice([stranger, stranger, rng.choice([*victim.numbers])])
    kind = SeenKind(past, rng.choice(list(Kind)))
    match rng.choice(["wants", "wants", "derives", "sees", "adopts"]):
        case "derives" if number in victim.scheme.band:
            return Claim(
                claimed_at=at, image=_deriving(number, victim.scheme, rng)
            )
        case "wants" | "derives":
            return Claim(
                claimed_at=at,
                image=another,
                wanted=Wanted(at, number),
                kind=rng.choice([None, kind]),
            )
        case "sees":
            return Claim(
                claimed_at=at, image=image, spelling=image.upper(), kind=kind
            )
        case _:
            wanted = Wanted(at, rng.randrange(1, 20))
            return Claim(claimed_at=future, image=image, wanted=wanted)


def _deriving(number: int, scheme: Scheme, rng: Random) -> str:
    """Find an image that has a number as its first probe."""
    start = rng.getrandbits(100)
    images = (str(UUID(int=start + n, version=4)) for n in count())
    return next(i for i in images if scheme.derive(i) == number)


def _push(outlaw: Region, claims: Sequence[Claim], size: int) -> None:
    outlet = Outlet(outlaw.network, outlaw.name)
    with suppress(Outage, Crash):
        for start in range(0, len(claims), size):
            some = tuple(claims[start : start + size])
            message = messages.Claims(claims=some)
            outlet.send("claims", *wire.encode(message, outlaw.pen))
    outlet.close()


def retry_all(region: Region) -> None:
    """Do as `ec2map-sync quarantine retry --all`, and drop what stays."""
    trusted = {peer: region.trust(peer) for peer in region.peers}
    retrial = Retrial(
        region.ledger, trusted, region.pen, ALL_IMAGES, believe_none
    )
    quarantine = region.ledger.quarantine
    for brief in reversed(quarantine.newest()):
        entry = quarantine.entry(brief.id)
        assert entry is not None
        with suppress(BadMessage):
            retrial.take(entry, dry_run=False)
        quarantine.release([brief.id])
    region.decided()


def check_bound(region: Region, peers: int, most: int) -> None:
    """Make sure that no more was lost in a day than peers may take.

    :raises Wrong: it was.
    """
    for at, _ in region.losses:
        day = sum(n for t, n in region.losses if at <= t < at + DAY)
        if day > most * peers:
            raise Wrong(
                f"{region.name} has lost {day} numbers in a day to {peers} "
                f"peers, who may take {most} each"
            )


def check_settled(region: Region) -> None:
    """Make sure that a region has settled what it has recorded.

    :raises Wrong: it has not.
    """
    region.observe()
    numbers = {i: n for i, n in region.numbers.items() if n is not None}
    if numbers != settle(region.claims.values(), region.scheme):
        raise Wrong(f"{region.name} has not settled what it has recorded")
