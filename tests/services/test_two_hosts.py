"""Several hosts run one region: one is killed, another goes on at once."""

import pytest
from fleet import INFO, Load, await_reading, pair, running
from one_set import await_equal, await_same_cells, moves, second_host
from patience import wait_until

pytestmark = pytest.mark.services

SOON = 30
"""Seconds, with two processors for all the regions and servers."""


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("two_hosts")
    one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
    one.glance.declare()
    two.glance.declare()
    twin = second_host(one)
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        with running(twin):
            await_reading(twin, two)
            yield one, twin, two


@pytest.mark.long
def test_the_second_host_listens_without_waiting_for_a_peer_to_fail(regions):
    _, twin, _ = regions

    twin.await_log("listening on", SOON)

    assert "did not answer" not in twin.log()


def test_whoever_is_killed_the_other_goes_on_and_nothing_counts_twice(
    regions,
):
    one, twin, two = regions
    twin.await_log("listening on", 60)
    with Load(one.glance, 0.3) as load, Load(two.glance, 0.3) as other:
        for victim, heir in ((one, twin), (twin, one), (one, twin)):
            load.await_more(3)
            other.await_more(3)
            since = len(victim.log())
            victim.kill()

            here, there = one.glance.create(5), two.glance.create(5)

            two.await_images(here, SOON)  # listener and publisher
            one.await_images(here | there, SOON)  # writer and follower
            victim.start()
            victim.await_log("listening on", 60, since=since)
            assert heir.services().keys() >= {"listener", "follower"}
        load.await_more(3)

    images = {*load.confirmed, *other.confirmed}
    total = await_equal(one, two, count=len(images) + 30, seconds=30)
    # Each notification has become one claim, and nothing else has.
    assert total.count == len(images) + 30
    await_same_cells(one, two)
    assert moves(one) == moves(two) == []
    wait_until(lambda: one.rabbit.queue_depths(one.vhost)[INFO] == 0)
