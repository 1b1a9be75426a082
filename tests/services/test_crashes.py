"""Killed at any moment, a region goes on where it was, and loses nothing."""

import os
import signal

import pytest
from fleet import SERVICES, Load, await_reading, pair, running
from patience import wait_until, within

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("crashes")
    one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        yield one, two


def kill(region, service):
    """Kill a service, and wait for its successor."""
    pid = region.services()[service]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: region.services().get(service, pid) != pid)


def assert_everywhere(images, *regions):
    """Every image has its row, one and the same, in every cell."""
    for region in regions:
        region.await_images(images)
    rows = regions[0].rows("cell0")
    for region in regions:
        for cell in region.cells:
            assert region.rows(cell) == rows
            uuids = region.uuids(cell)
            assert len(uuids) == len(set(uuids))


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_comes_back_and_loses_nothing(regions, service):
    one, two = regions
    with Load(one.glance, pause=0.005) as load:
        for region in (one, two, one):
            load.await_more()
            kill(region, service)
        load.await_more()

    assert_everywhere(load.confirmed, one, two)


def test_after_a_power_cut_everything_goes_on(regions):
    one, two = regions
    with Load(one.glance, pause=0.005) as load:
        load.await_more()
        for region in (one, two):
            region.kill()
            load.await_more()
            region.start()
        load.await_more()

    assert_everywhere(load.confirmed, one, two)


def test_services_do_not_outlive_their_killed_supervisor(regions):
    one, _ = regions
    wait_until(lambda: set(SERVICES) <= one.services().keys())
    pids = one.services().values()

    os.kill(one.agent.pid, signal.SIGKILL)
    one.agent.wait(within(10))

    wait_until(lambda: not any(map(alive, pids)))
    one.start()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
