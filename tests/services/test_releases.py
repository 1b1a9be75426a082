"""Agents of two successive releases in one fleet."""

import sys
from pathlib import Path
from uuid import uuid4

import next_release
import older_release
import pytest
from fleet import await_reading, pair, running
from one_set import (
    await_equal,
    await_published,
    await_same_cells,
    claim_many,
    open_ledger,
)

from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.stamps import wall_clock

pytestmark = pytest.mark.services

SOON = "[bus]\nclaim_wait = 1\n"


def upgraded(region, version):
    """Let a region run the next release from its next start on."""
    program = Path(next_release.__file__)
    region.program = (sys.executable, program, str(version))


@pytest.fixture
def regions(rabbit_a, rabbit_b, mariadb, tmp_path):
    """RegionOne runs today's release, RegionTwo the next one."""
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    for region, peer in ((one, two), (two, one)):
        region.configure(peer, extra=SOON)
    return one, two


def quarantined(region):
    found = region.sql("ledger", "SELECT reason FROM quarantine")
    return {str(reason) for (reason,) in found}


def claimed_alone(region):
    """Let it claim and publish while nobody has a queue there."""
    images = claim_many(open_ledger(region), 5)
    with running(region):
        await_published(region)
    return images


def test_two_releases_understand_each_other_s_claims_and_answers(regions):
    one, two = regions
    upgraded(two, 1)
    images = claimed_alone(one) | claimed_alone(two)
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        await_equal(one, two, count=10, seconds=60)
        for region in regions:
            region.await_log("5 claims were missing or older here", 60)

        images |= one.glance.create(5) | two.glance.create(5)

        for region in regions:
            region.await_images(images, 60)
        await_same_cells(one, two)
        assert quarantined(one) == quarantined(two) == set()


def test_another_version_is_refused_and_made_up_for_later(regions):
    one, two = regions
    upgraded(two, 3)
    with running(one, two):
        two.await_log("version 1, we speak 3 and 2: upgrade ec2map-sync", 60)
        images = two.glance.create(10)
        two.await_images(images, 60)
        await_published(two)
        reason = "version 3, we speak 1 and 2: upgrade ec2map-sync here"
        one.await_log(reason, 60)
        own = one.glance.create(3)
        one.await_images(own)
        assert not images & set(one.uuids("cell1"))
        refused = quarantined(one)
        assert refused == {reason}

        two.stop()
        upgraded(two, 1)
        two.start()

        for region in regions:
            region.await_images(images | own, 60)
        await_same_cells(one, two)
        assert quarantined(one) == refused  # nobody took it from there


@pytest.mark.parametrize(
    "older", [pytest.param(False, marks=pytest.mark.long), True]
)
def test_whatever_release_a_peer_has_what_is_missing_is_found(regions, older):
    """Of many claims, made at any time; this release asks with a sketch."""
    one, two = regions
    if older:
        two.program = (sys.executable, older_release.__file__)
    begun, hour = wall_clock(), 3_600_000_000
    every = [
        Claim(claimed_at=begun - n * hour, image=str(uuid4()))
        for n in range(1, 801)
    ]
    for region, lacks in ((one, every[::90]), (two, every[51::100])):
        open_ledger(region).record(c for c in every if c not in lacks)

    with running(one, two):
        await_equal(one, two, count=800, seconds=60)
        one.await_log(f"{len(every[::90])} claims were missing or older", 60)
        two.await_log(
            f"{len(every[51::100])} claims were missing or older", 60
        )

    assert quarantined(one) == quarantined(two) == set()
