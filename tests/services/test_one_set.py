"""Unplugged for any time, in any way, regions come to hold the same set."""

import time

import pytest
from fleet import Load, Region, await_reading, running
from one_set import (
    HEARTBEAT,
    await_equal,
    await_published,
    await_same_cells,
    claim_many,
    delete_queue,
    open_ledger,
    queue_length,
    queue_of,
    via,
)
from patience import wait_until
from proxy import Proxy, Way

from ec2map_sync.broker import link
from ec2map_sync.broker.address import Address
from ec2map_sync.rules.stamps import wall_clock

pytestmark = pytest.mark.services

QUEUE_MAX_BYTES = 1024 * 1024
BOUNDED = f"[bus]\nqueue_max_bytes = {QUEUE_MAX_BYTES}\n"
SECOND = 1_000_000
BEAT = 0.5
"""`[bus] heartbeat_interval` of the regions, in seconds."""
NOTICED = link.CONFIRM_TIMEOUT + 4 * HEARTBEAT
"""Seconds until a silent link is given up, also by who waits for a confirm."""


@pytest.fixture(scope="module")
def links(rabbit_a, rabbit_b):
    """The links over which RegionOne and RegionTwo are read."""
    with Proxy(rabbit_a.port) as to_one, Proxy(rabbit_b.port) as to_two:
        yield to_one, to_two


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, links, tmp_path_factory):
    directory = tmp_path_factory.mktemp("one_set")
    one = Region("RegionOne", rabbit_a, mariadb, directory)
    two = Region("RegionTwo", rabbit_b, mariadb, directory)
    one.configure(via(two, links[1]), extra=BOUNDED)
    two.configure(via(one, links[0]), extra=BOUNDED)
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        one.await_images(two.glance.create(3))
        yield one, two


def held(region):
    return open_ledger(region).head().total.count


@pytest.mark.long
def test_a_peer_whose_queue_was_deleted_takes_over_what_it_missed(regions):
    one, two = regions
    two.kill()
    delete_queue(one, queue_of(two))
    claim_many(open_ledger(one), 20_000)
    await_published(one)
    assert held(one) - held(two) == 20_000

    two.start()

    await_equal(one, two, count=20_000, seconds=60)
    await_same_cells(one, two)


def test_under_load_heartbeats_say_agreed_until_a_moment_ago(regions):
    one, two = regions
    since = wall_clock()
    before = held(one)
    with Load(one.glance, 0.1) as load, Load(two.glance, 0.1) as other:
        for region, peer in ((one, two), (two, one)):
            ledger = open_ledger(region)

            def agreed_until(ledger=ledger, peer=peer):
                state = ledger.journal.peer_states()[peer.name]
                return state.agrees_until or 0

            # Each time later than all that was claimed before the last look.
            for _ in range(3):
                begun = max(since, agreed_until(), wall_clock())
                load.await_more(15)
                other.await_more(15)
                wait_until(lambda b=begun: agreed_until() > b, 20)
                assert wall_clock() - agreed_until() < 10 * SECOND

    claimed = len(load.confirmed) + len(other.confirmed)
    await_equal(one, two, count=before + claimed, seconds=60)


def test_the_queue_of_a_dead_peer_is_bounded(regions):
    one, two = regions
    two.kill()
    claim_many(open_ledger(one), 16_000)
    await_published(one)
    since = time.monotonic()
    full = queue_length(one, queue_of(two))
    assert full > 0

    claim_many(open_ledger(one), 16_000)
    await_published(one)

    # These are 32 messages more, of 500 claims of some 80 bytes, for as many
    # that were dropped. Heartbeats are in it as well, and small.
    beats = (time.monotonic() - since) / BEAT
    assert queue_length(one, queue_of(two)) <= full + 2 + beats
    missing = held(one) - held(two)
    two.start()
    await_equal(one, two, count=held(two) + missing, seconds=60)
    await_same_cells(one, two)


@pytest.mark.parametrize(
    ("way", "least"), [(Way.TO_READER, 20_000), (Way.TO_BROKER, 0)]
)
def test_a_link_cut_in_the_middle_of_a_frame_costs_nothing(
    regions, links, way, least
):
    one, two = regions
    before = held(one)
    since = len(two.log())
    links[0].cut(way, least)

    claim_many(open_ledger(one), 500)  # 50 KB in one frame

    wait_until(lambda: links[0].has_cut)
    await_equal(one, two, count=before + 500, seconds=30)
    await_reading(two, one, since)


def test_a_link_that_goes_one_way_only_is_noticed_and_given_up(regions, links):
    one, two = regions
    before = held(one)
    since = [(r, p, len(r.log())) for r, p in ((one, two), (two, one))]
    links[0].swallow(Way.TO_READER)
    links[1].swallow(Way.TO_BROKER)
    for region in regions:
        claim_many(open_ledger(region), 500)
    for region, peer, start in since:
        region.await_log(
            f"follower of {peer.name} waits", NOTICED, since=start
        )
    assert all(cut.swallowed for cut in links)
    assert held(two) == before + 500

    for cut in links:
        cut.heal()

    await_equal(one, two, count=before + 1000, seconds=40)
    await_same_cells(one, two)


def test_a_dead_link_is_noticed_on_every_broker_by_default(regions):
    one, _ = regions
    assert link.connect(Address(one.bus_url)).heartbeat == link.HEARTBEAT
