"""Canaries between real agents: they come back, unless nothing is recorded."""

import json
import os
import signal

import pytest
from fleet import await_reading, pair, running
from one_set import open_ledger
from patience import wait_until

from ec2map_sync.monitor.canaries import canary_views
from ec2map_sync.rules.canaries import is_canary
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings.loading import load

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("canary")
    one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
    for region, peer in ((one, two), (two, one)):
        region.configure(peer, extra="\n[canary]\ninterval = 2\n")
    with running(one, two):
        for reader, peer in ((one, two), (two, one)):
            await_reading(reader, peer)
        yield one, two


def canary(region):
    """Tell how a region's canaries fare, as `status` does."""
    bus = load([], files=[str(region.config_file)]).bus
    (view,) = canary_views(open_ledger(region), bus, wall_clock())
    return view


def heard_ago(region):
    """Tell for how many seconds its peer has not been heard."""
    (peer,) = open_ledger(region).journal.peer_states().values()
    return (wall_clock() - peer.received_at) / 1_000_000


def test_canaries_come_back_and_no_cell_gets_one(regions):
    one, two = regions
    for region in regions:
        wait_until(lambda r=region: canary(r).healthy, 60)

    images = one.glance.create(3)
    for region in regions:
        region.await_images(images, 60)
        assert canary(region).back_after >= 0
        for cell in region.cells:
            assert not any(map(is_canary, region.uuids(cell)))
    lines = json.loads(one.command("status", "-f", "json"))
    (line,) = [line for line in lines if line["what"] == "canary"]
    assert (line["name"], line["state"]) == ("RegionTwo", "comes back")
    held = two.sql("ledger", "SELECT image FROM claims")
    assert any(is_canary(image) for (image,) in held)


def test_a_peer_that_beats_and_records_nothing_is_noticed(regions):
    one, two = regions
    wait_until(lambda: canary(one).healthy, 60)
    follower = two.services()["follower"]
    os.kill(follower, signal.SIGSTOP)
    try:
        wait_until(lambda: canary(one).overdue > 8, 60)
        wait_until(lambda: heard_ago(one) < 8, 60)
        assert canary(one).overdue > 8
    finally:
        os.kill(follower, signal.SIGCONT)
    wait_until(lambda: canary(one).overdue == 0, 60)
