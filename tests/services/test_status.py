"""status says what is so: under load, and with a part that is dead."""

import json
import os
import signal

import pytest
from commands import run
from fleet import Load, await_reading, pair, running
from patience import wait_until, within

from ec2map_sync.rules.stamps import parse_time, wall_clock

pytestmark = pytest.mark.services

SILENT_AFTER = within(2)
CELLS = ("nova:cell0", "nova:cell1")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(
        "ec2map_sync.monitor.status.SILENT_AFTER", SILENT_AFTER
    )


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("status")
    one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
    for region in (one, two):
        region.glance.declare()
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        yield one, two


def status(region):
    done = run(
        "status", "-f", "json", "--config-file", str(region.config_file)
    )
    assert done.stderr == ""
    lines = json.loads(done.stdout)
    return done.code, {(line["what"], line["name"]): line for line in lines}


def await_healthy(*regions):
    for region in regions:
        try:
            wait_until(lambda r=region: status(r)[0] == 0, 30)
        except TimeoutError:
            raise AssertionError(status(region)) from None


def truth(region):
    """Count what there is, by SQL: claims, revision."""
    ((claims,),) = region.sql("ledger", "SELECT count(*) FROM claims")
    ((revision,),) = region.sql("ledger", "SELECT revision FROM head")
    return claims, revision


def unwritten(region, cell):
    """Count the images that have no row yet."""
    known = region.sql("ledger", "SELECT image FROM claims")
    return len(known) - len(region.rows(cell))


def test_an_empty_region_is_healthy_and_has_nothing(regions):
    await_healthy(*regions)

    for region in regions:
        _, lines = status(region)
        assert lines["claims", region.name]["position"] == 0
        assert truth(region)[0] == 0
        for cell in CELLS:
            assert lines["sink", cell]["lag"] == 0


def test_under_load_every_figure_lies_between_the_truth_before_and_after(
    regions,
):
    one, two = regions
    began = wall_clock()
    with Load(one.glance) as load:
        load.await_more(10)
        for _ in range(8):
            for region, peer in ((one, two), (two, one)):
                before, asked = truth(region), wall_clock()
                code, lines = status(region)
                after = truth(region)

                assert code == 0, lines
                for what, old, new in zip(
                    ("claims", "ledger"), before, after, strict=True
                ):
                    assert old <= lines[what, region.name]["position"] <= new
                for cell in CELLS:
                    sink = lines["sink", cell]
                    assert 0 <= sink["position"] <= after[1]
                    loaded = (wall_clock() - began) / 1_000_000
                    assert 0 <= sink["lag_seconds"] <= loaded
                told = lines["peer", peer.name]
                assert told["state"] in {"agrees", "differs"}
                agreed = parse_time(told["position"], asked)
                assert agreed < wall_clock()
        assert truth(one)[0] > 10

    await_healthy(*regions)
    for region in regions:
        _, lines = status(region)
        claims, revision = truth(region)
        assert claims >= len(load.confirmed)
        assert lines["claims", region.name]["position"] == claims
        for cell in CELLS:
            assert lines["sink", cell]["position"] == revision
            assert unwritten(region, cell.partition(":")[2]) == 0
        log = region.log()
        assert [image for image in load.confirmed if image in log] == []


def test_a_dead_cell_is_behind_by_what_it_lacks_and_no_other_is(regions):
    one, two = regions
    one.sql("cell1", "RENAME TABLE s3_images TO away")
    try:
        images = one.glance.create(7)
        two.await_images(images)
        wait_until(lambda: unwritten(one, "cell0") == 0, 30)
        wait_until(
            lambda: status(one)[1]["sink", "nova:cell1"]["last_error"], 30
        )

        code, lines = status(one)

        assert code == 1
        dead, alive = lines["sink", "nova:cell1"], lines["sink", "nova:cell0"]
        assert (dead["state"], dead["lag"]) == ("behind", 7)
        assert dead["lag_seconds"] > 0
        assert "s3_images" in dead["last_error"]
        assert (alive["state"], alive["lag"]) == ("up to date", 0)
        assert lines["service", "writer of nova:cell1"]["state"] == "waits"
        assert lines["service", "writer of nova:cell0"]["state"] == "works"
        assert status(two)[0] == 0
    finally:
        one.sql("cell1", "RENAME TABLE away TO s3_images")
    await_healthy(one)
    assert unwritten(one, "cell1") == 0


def test_a_process_that_hangs_is_silent_and_its_sinks_are_behind(regions):
    one, two = regions
    writer = one.services()["writer"]
    os.kill(writer, signal.SIGSTOP)
    try:
        two.await_images(one.glance.create(3))
        wait_until(
            lambda: (
                status(one)[1]["service", "writer of nova:cell1"]["state"]
                == "silent"
            ),
            30,
        )

        code, lines = status(one)

        assert code == 1
        assert lines["service", "listener"]["state"] == "works"
        for cell in CELLS:
            sink = lines["sink", cell]
            assert (sink["state"], sink["lag"]) == ("behind", 3)
            assert unwritten(one, cell.partition(":")[2]) == 3
    finally:
        os.kill(writer, signal.SIGCONT)
    await_healthy(one)


def test_without_an_agent_nothing_is_said_to_work(regions):
    one, two = regions
    one.stop()
    claims, _ = truth(one)
    try:
        wait_until(
            lambda: status(two)[1]["peer", one.name]["state"] == "silent", 30
        )
        wait_until(
            lambda: status(one)[1]["peer", two.name]["state"] == "silent", 30
        )
        wait_until(
            lambda: (
                "works"
                not in {line["state"] for line in status(one)[1].values()}
            ),
            30,
        )

        code, lines = status(one)

        assert code == 1
        services = [v for (what, _), v in lines.items() if what == "service"]
        # What a cell that is taken away would leave is "gone".
        assert {line["state"] for line in services} <= {"silent", "gone"}
        peer = lines["peer", two.name]
        assert (peer["state"], peer["lag"]) == ("silent", None)
        assert lines["claims", one.name]["position"] == claims
        assert status(two)[0] == 1
        assert status(two)[1]["peer", one.name]["lag"] is None
    finally:
        one.start()
    await_healthy(one, two)
