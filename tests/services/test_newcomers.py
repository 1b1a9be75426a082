"""A new region takes over everything, also what comes from nobody alive."""

import pytest
from fleet import Load, Region, running
from one_set import (
    await_equal,
    await_same_cells,
    claim_many,
    open_ledger,
    queue_of,
)
from patience import wait_until

pytestmark = pytest.mark.services

MANY = 15_000


@pytest.fixture(scope="module")
def retired(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    """Two regions, and the images of a third that is gone for ever."""
    directory = tmp_path_factory.mktemp("newcomers")
    one = Region("RegionOne", rabbit_a, mariadb, directory)
    two = Region("RegionTwo", rabbit_b, mariadb, directory)
    old = Region("RegionOld", rabbit_b, mariadb, directory)
    one.configure(two, old)
    two.configure(one, old)
    old.configure(one, two)
    images = claim_many(open_ledger(old), 300)
    with running(one, two, old):
        await_equal(one, two, old, count=300, seconds=60)
    mariadb.execute(f"DROP DATABASE `{old.vhost}_ledger`")
    rabbit_b.remove(old.vhost)
    return one, two, old, images


def test_a_newcomer_killed_half_way_gets_all_even_a_retired_region_s_images(
    retired, rabbit_b, mariadb
):
    one, two, old, images = retired
    three = Region("RegionThree", rabbit_b, mariadb, one.directory)
    one.configure(two, three)
    two.configure(one, three)
    three.configure(one, two)
    one.command("peer", "forget", old.name)
    assert queue_of(old) not in one.rabbit.queue_depths(one.vhost)
    claim_many(open_ledger(one), MANY)
    ledger = open_ledger(three)
    with running(one, two, three):
        with Load(one.glance, 0.1) as load:
            load.await_more(1)
            wait_until(lambda: ledger.head().total.count >= 2000, 60)
            three.kill()
            taken_over = ledger.head().total.count
            load.await_more(10)

            three.start()

            load.await_more(10)

        everything = len(images) + MANY + len(load.confirmed)
        await_equal(one, two, three, count=everything, seconds=60)
        assert taken_over < MANY
        assert ledger.claims(images).keys() == images
        await_same_cells(one, two, three)
