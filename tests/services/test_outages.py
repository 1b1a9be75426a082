"""Brokers and databases come and go; a region waits, and then goes on."""

import re
from collections import Counter

import pytest
from fleet import Load, await_reading, pair, running
from patience import wait_until

pytestmark = pytest.mark.services

PEERS = pytest.param("rabbit_b", marks=pytest.mark.long)
"""A peer's broker; others cut the way to it in each run."""

WAITS = "waits and tries again"
GOES_ON = "goes on"


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    # Durable, as what a broker forgets when it is restarted can only be
    # found by asking Glance.
    directory = tmp_path_factory.mktemp("outages")
    regions = pair(rabbit_a, rabbit_b, mariadb, directory, durable=True)
    for region in regions:
        region.glance.declare()
    return regions


@pytest.fixture
def server(request):
    """One of the servers, running again afterwards whatever happens."""
    server = request.getfixturevalue(request.param)
    yield server
    server.start()


def each_server(argvalues=("rabbit_a", PEERS, "mariadb")):
    return pytest.mark.parametrize("server", argvalues, indirect=True)


def assert_everywhere(images, *regions):
    """Every image has its row, one and the same, in every cell."""
    for region in regions:
        region.await_images(images, 60)

    def rows():
        return [r.rows(cell) for r in regions for cell in r.cells]

    # There may be more: a notification whose confirmation got lost.
    wait_until(lambda: all(found == rows()[0] for found in rows()))
    uuids = regions[0].uuids("cell0")
    assert len(uuids) == len(set(uuids))


def log_ends(regions):
    return [(region, len(region.log())) for region in regions]


def await_work(since):
    """Wait until regions hear their Glance and each other."""
    (one, _), (two, _) = since
    for region, start in since:
        region.await_log("listening on", 60, since=start)
        await_reading(region, two if region is one else one, start)


def waited_and_went_on(log):
    """Tell which loops said that they wait, and which that they go on."""
    waited = re.findall(rf"\[-\] (.+){re.escape(WAITS)}", log)
    went_on = re.findall(rf"\[-\] (.+) {GOES_ON}$", log, re.M)
    return {loop.strip() for loop in waited}, set(went_on)


def await_going_on(since):
    """Wait until no loop waits; the last pause may have been long."""
    for region, start in since:

        def goes_on(region=region, start=start):
            waited, went_on = waited_and_went_on(region.log(start))
            return waited <= went_on

        wait_until(goes_on, 60)


def assert_said_once(log):
    """One line when an outage begins, one when it ends, for each loop.

    It may be two at the beginning: how a server was lost is not always why
    it cannot be reached. The same goes for the loggers of libraries. And a
    server that has just come back may lose one once more.
    """
    assert "Traceback" not in log
    complaints = Counter(
        (logger, text.partition(WAITS)[0] if WAITS in text else "")
        for logger, text in re.findall(
            r"^\S+ \S+ \d+ (?:WARNING|ERROR) (\S+) \S+ (.*)$", log, re.M
        )
    )
    waited = {loop.strip() for _, loop in complaints if loop}
    went_on = Counter(re.findall(rf"\[-\] (.+) {GOES_ON}$", log, re.M))
    assert max(complaints.values(), default=0) <= 2, complaints
    assert went_on.keys() == waited
    assert max(went_on.values(), default=0) <= 2, went_on


@each_server()
def test_a_restart_under_load_loses_nothing_and_is_said_once(regions, server):
    one, two = regions
    since = log_ends(regions)
    with running(one, two):
        await_work(since)
        listener = one.services()["listener"]
        with Load(one.glance, 0.1) as load, Load(two.glance, 0.1) as other:
            load.await_more()
            since = log_ends(regions)

            server.stop()
            wait_until(lambda: any(WAITS in r.log(s) for r, s in since))
            if server is not two.rabbit:
                complains = re.compile(rf" {listener} (WARNING|ERROR) ")
                wait_until(lambda: complains.search(one.log()), 60)
            server.start()

            load.await_more()
            other.await_more()
        assert_everywhere([*load.confirmed, *other.confirmed], one, two)
        await_going_on(since)
        assert [region.stop() for region in regions] == [0, 0]
        for region, start in since:
            assert_said_once(region.log(start))


@each_server()
def test_a_server_that_is_down_at_the_start_is_waited_for(regions, server):
    one, two = regions
    since = log_ends(regions)
    server.stop()
    with running(one, two):
        for region, start in since:
            region.await_log(WAITS, since=start)

        server.start()

        await_work(since)
        images = one.glance.create(20) | two.glance.create(20)
        assert_everywhere(images, one, two)
        await_going_on(since)
        for region, start in since:
            assert_said_once(region.log(start))


@each_server(["rabbit_a", "mariadb"])
def test_sigterm_ends_an_agent_that_waits_for_a_server(regions, server):
    one, _ = regions
    start = len(one.log())
    server.stop()
    with running(one):
        one.await_log(WAITS, since=start)

        assert one.stop() == 0
