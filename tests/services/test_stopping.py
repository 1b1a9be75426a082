"""SIGTERM at any moment: the agent ends in order, and nothing is lost."""

import pytest
from fleet import INFO, Load, Region, running
from patience import wait_until

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def region(rabbit_a, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("stopping")
    region = Region("RegionOne", rabbit_a, mariadb, directory)
    # Small batches, so that there is always something left to do.
    region.configure(extra="[notifications]\nbatch_size = 5\n")
    return region


def recorded(region):
    return {
        str(i) for (i,) in region.sql("ledger", "SELECT image FROM claims")
    }


def waiting(region):
    """Notifications that the broker still has."""
    return region.rabbit.queue_depths(region.vhost)[INFO]


def kept(region):
    """Notifications that are recorded, or that the broker still has."""
    return waiting(region) + len(recorded(region))


def test_under_load_what_is_not_recorded_stays_with_the_broker(region):
    region.glance.declare()
    with running(region):
        region.await_log("listening on")
        with Load(region.glance, pause=0.002) as load:
            load.await_more(100)

            assert region.stop() == 0

            load.await_more()
    assert waiting(region) > 0
    assert len(recorded(region)) > 0
    assert kept(region) >= len(load.confirmed)

    with running(region):
        region.await_images(load.confirmed, 90)


@pytest.mark.long
def test_with_a_backlog_what_is_not_recorded_stays_with_the_broker(region):
    known = recorded(region)
    images = region.glance.create(3000)
    with running(region):
        wait_until(lambda: recorded(region) > known)

        assert region.stop() == 0

    assert images - recorded(region)  # it was interrupted
    # The broker may not have dealt with the last acknowledgements yet, so
    # that it counts too many, never too few.
    assert waiting(region) + len(recorded(region) - known) >= len(images)
    with running(region):
        region.await_images(images, 90)


def test_while_the_ledger_is_away_notifications_in_hand_go_back(
    region, mariadb
):
    since = len(region.log())
    with running(region):
        region.await_log("listening on", since=since)
        mariadb.stop()
        try:
            images = region.glance.create(30)
            region.await_log("the ledger does not answer", since=since)

            assert region.stop() == 0

            # Also what an agent before had recorded, if it was killed before
            # it had acknowledged that.
            wait_until(lambda: waiting(region) >= len(images))
        finally:
            mariadb.start()
    assert "Traceback" not in region.log(since)
    with running(region):
        region.await_images(images)
        wait_until(lambda: waiting(region) == 0)
