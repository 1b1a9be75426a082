"""A peer that takes numbers in use from their images, with a valid key."""

import json
from uuid import uuid4

import pytest
from fleet import await_reading, pair, running
from impostor import pen_of, publish
from one_set import open_ledger

from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Claim, SeenKind, Sighting, Wanted
from ec2map_sync.rules.ec2id import Kind
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sql.statements import batched

pytestmark = pytest.mark.services

MOST = 50
"""[bus] max_evictions, as it is if nobody sets it."""


@pytest.fixture
def regions(rabbit_a, rabbit_b, mariadb, tmp_path):
    """RegionOne listens; in the place of RegionTwo's agent is the test."""
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    with running(one, two):
        await_reading(one, two)
        one.await_log("agrees with RegionTwo")
        two.kill()
        yield one, two


@pytest.fixture
def tell(regions):
    """Let RegionTwo's broker bring claims, so many in each message."""
    _, two = regions
    pen = pen_of(two)

    def tell(claims, size):
        publish(
            two.bus_url,
            [
                wire.encode(messages.Claims(claims=tuple(some)), pen)
                for some in batched(claims, size)
            ],
        )

    return tell


def await_new(one, tell):
    """Let a claim that takes nothing come last: it flows."""
    new = Claim(claimed_at=wall_clock(), image=str(uuid4()))
    tell([new], 1)
    one.await_images([new.image], 120)


def lost(ledger, numbers):
    """Give the images that have not their number any more."""
    now = ledger.numbers_of(numbers)
    return [image for image, number in numbers.items() if now[image] != number]


@pytest.mark.long
def test_who_takes_3_000_numbers_in_use_gets_a_few_of_them_a_day(
    regions, tell
):
    one, _ = regions
    images = [str(uuid4()) for _ in range(3_000)]
    ledger = open_ledger(one)
    ledger.see([Sighting(image=i, uuid=i) for i in images])
    found = ledger.numbers_of(images)
    numbers = {image: found[image] for image in images}
    takers = [
        Claim(claimed_at=1, image=str(uuid4()), wanted=Wanted(1, number))
        for number in numbers.values()
    ]
    now = wall_clock()
    kinds = [
        Claim(claimed_at=now, image=i, kind=SeenKind(now, Kind.AKI))
        for i in images
    ]
    since = len(one.log())

    tell(takers[:30], 10)
    mixed = [c for pair in zip(takers, kinds, strict=True) for c in pair]
    tell(mixed[60:3_660], 900)
    await_new(one, tell)

    assert lost(ledger, numbers) == images[:30]
    one.await_log(f"is {MOST} a day, 30 of which RegionTwo has", since=since)
    known = ledger.claims(images[30:1_830]).values()
    assert all(claim.kind for claim in known)

    one.stop()
    one.start()
    tell(takers[30:530], 5)
    await_new(one, tell)

    assert len(lost(ledger, numbers)) == MOST
    lines = json.loads(one.command("status", "-f", "json", code=1))
    (peer,) = (line for line in lines if line["what"] == "peer")
    assert "'ec2map-sync quarantine retry --all'" in peer["last_error"]

    one.command("quarantine", "retry", "--all")

    assert lost(ledger, numbers) == images[:1_830]
