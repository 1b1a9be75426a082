"""Lies: what somebody says with a region's own key, in some worlds.

He takes numbers in use, gives others' images another number or kind, dates
back, tells of totals that there are not, and answers questions with nothing.
What is claimed so is as good as any claim, within what a peer may change: an
operator of each region takes in the evening what is held beyond that.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from as_settled import CLAIMS, claim_of, numbers_in

from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import PublicKey
from ec2map_sync.rules.claims import (
    EVERYTHING,
    Claim,
    Print,
    Range,
    SeenKind,
    Wanted,
    print_of,
)
from ec2map_sync.rules.ec2id import Kind
from played.judge import read
from played.region import Region, key_of
from played.world import World

Act = Callable[[World, Random], None]

EXCHANGE = "ec2map_sync"
LATEST = 5 * 3600
"""Seconds by which a lie is ahead at most, of those that are believed."""
KINDS = (Kind.AMI, Kind.AKI, Kind.ARI)
USELESS: Sequence[Mapping[str, Any]] = (
    {},
    {"rest": (EVERYTHING,)},
    {"ranges": (Range(span=EVERYTHING, print=Print(7, 7)),)},
    {"differences": 2**40},
)
"""What an answer says that is of no use."""


def _now(world: World) -> int:
    return int(world.scheduler.now * 1_000_000)


def say(
    world: World, region: Region, key: str, message: messages.Message
) -> None:
    """Says something as a region does."""
    pen = wire.Pen(
        region=region.name,
        scheme=world.scheme.fingerprint,
        key=key_of(region.name),
        clock=lambda: _now(world),
    )
    headers, body = wire.encode(message, pen)
    if EXCHANGE in region.broker.exchanges:
        properties = {"application_headers": headers, "delivery_mode": 2}
        region.broker.publish(EXCHANGE, key, body, properties)


def attack(world: World, rng: Random) -> None:
    """Numbers that others use are claimed, and others' images."""
    liar, victim = rng.sample(world.regions, 2)
    used = sorted(numbers_in(read(victim, CLAIMS)).items())
    if not used or not world.has_room:
        return
    some = rng.sample(used, min(len(used), rng.choice([1, 2, 6])))
    claims = [_attacking(world, rng, *one) for one in some]
    world.attacked = True
    world.say(f"{liar.name} claims {[c.image[:8] for c in claims]}, a lie")
    size = rng.choice([1, 2, 6])
    for start in range(0, len(claims), size):
        part = tuple(claims[start : start + size])
        say(world, liar, "claims", messages.Claims(claims=part))


def _attacking(world: World, rng: Random, image: str, number: int) -> Claim:
    """Makes a claim that is after an image's number, or after the image."""
    now = _now(world)
    past = rng.randrange(1, now)
    ahead = now + rng.randrange(LATEST) * 1_000_000
    at = rng.choice([1, past, past, ahead])
    kind = SeenKind(rng.choice([past, ahead]), rng.choice(KINDS))
    match rng.choice(["wants", "wants", "derives", "sees", "moves"]):
        case "derives" if number in world.band:
            return Claim(claimed_at=at, image=world.image(rng, wish=number))
        case "wants" | "derives":
            return Claim(
                claimed_at=at,
                image=world.image(rng),
                wanted=Wanted(at, number),
                kind=rng.choice([None, kind]),
            )
        case "sees":
            return Claim(claimed_at=at, image=image, kind=kind)
        case _:
            wanted = Wanted(at, world.legacy())
            return Claim(claimed_at=ahead, image=image, wanted=wanted)


def mislead(world: World, rng: Random) -> None:
    """A heartbeat tells of claims that there are not, or of none."""
    liar, reader = rng.sample(world.regions, 2)
    now = _now(world)
    until = rng.choice([1, now - 60_000_000, now])
    claims = [claim_of(row) for row in read(reader, CLAIMS)]
    before, total = rng.choice(
        [
            (Print(0, 0), Print(0, 0)),
            (Print(1, 1), Print(10**6, 10**6)),
            # Whoever reads it believes that it lacks nothing.
            (
                print_of(c for c in claims if c.claimed_at < until),
                print_of(claims),
            ),
        ]
    )
    world.scheduler.blind = True
    ahead = rng.choice([-LATEST, 0, LATEST, 3 * 86400])
    world.say(f"{liar.name} tells of {total.count} claims, a lie")
    heartbeat = messages.Heartbeat(
        until=until,
        before=before,
        total=total,
        newest=now + ahead * 1_000_000,
    )
    say(world, liar, "heartbeat", heartbeat)


def brush_off(world: World, rng: Random) -> None:
    """Questions are answered by somebody else, and with nothing of use."""
    liar = rng.choice(world.regions)
    peers = [one for one in world.regions if one is not liar]
    trusted = {
        one.name: wire.Trust(
            sender=one.name,
            keys=(PublicKey(key_of(one.name).public),),
            scheme=world.scheme.fingerprint,
        )
        for one in peers
    }

    def answer(body: bytes, properties: Mapping[str, Any]) -> None:
        headers = properties["application_headers"]
        received = wire.decode(headers, body, trusted, _now(world))
        if isinstance(received.message, messages.Compare):
            world.scheduler.blind = True
            world.say(f"{liar.name} answers {received.sender} with a lie")
            reply = messages.Answer(
                id=received.message.id, **rng.choice(USELESS)
            )
            say(world, liar, f"answer.{received.sender}", reply)

    for name, queue in liar.broker.queues.items():
        if name.endswith(".requests"):
            queue.losing, queue.thief = rng.choice([1, 3, 10]), answer
    # So that there is something to ask for.
    for peer in peers:
        for connection in list(peer.broker.connections):
            if rng.random() < 0.5:
                connection.snap()


ACTS: tuple[tuple[Act, int], ...] = (
    (attack, 14),
    (mislead, 6),
    (brush_off, 6),
)
