"""What Glance's broker loses, and backfill when it is killed."""

import json
import subprocess

import pytest
from commands import BIN
from fake_glance import FakeGlance
from fleet import INFO, Region, create_envelope, pair, running
from patience import wait_until, within

pytestmark = pytest.mark.services

IMAGES = 60
RATE = 20
"""Images a second, and at most so many in a batch."""


@pytest.fixture
def glance():
    with FakeGlance() as server:
        yield server


def audited(glance):
    """Ask Glance once, at the start, and not again while a test lasts."""
    return (
        f"\n[glance]\nendpoint_override = {glance.url}\n"
        "audit_interval = 600\npoll_interval = 600\n"
    )


def test_what_a_restarted_broker_forgets_one_audit_finds(
    rabbit_a, rabbit_b, mariadb, tmp_path, glance
):
    one, two = pair(rabbit_a, rabbit_b, mariadb, tmp_path)
    one.configure(two, extra=audited(glance))
    images = {glance.add(os_hidden=n % 5 == 0).id for n in range(40)}
    one.glance.send((INFO, create_envelope(image)) for image in images)
    assert rabbit_a.queue_depths(one.vhost)[INFO] == len(images)

    rabbit_a.restart()

    assert INFO not in rabbit_a.queue_depths(one.vhost)
    with running(one, two):
        one.await_images(images, 60)
        two.await_images(images, 60)

        one.await_log("audit of Glance: 40 images, ")
        assert one.log().count("audit of Glance:") == 1
        late = one.glance.create(3)
        two.await_images(late, 60)
        assert one.rows("cell1") == two.rows("cell1")


def backfill(region):
    """Start it, as a program would: no terminal."""
    return subprocess.Popen(
        [
            BIN / "ec2map-sync",
            *("backfill", "-f", "json", "--rate", str(RATE)),
            "--config-file",
            region.config_file,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(region):
    """Run it to its end; the row that it prints, and nothing else."""
    with backfill(region) as process:
        out, err = process.communicate(timeout=within(60))
    assert (process.returncode, err) == (0, "")
    (row,) = json.loads(out)
    return row


def test_a_backfill_killed_half_way_is_gone_on_with(
    rabbit_a, mariadb, tmp_path, glance
):
    region = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    region.configure(extra=audited(glance))
    for n in range(IMAGES):
        glance.add(os_hidden=n % 3 == 0)

    def claims():
        return region.sql("ledger", "SELECT COUNT(*) FROM claims")[0][0]

    glance.page = RATE + RATE // 2
    glance.hold_after = 3  # the newest change of either list, one page
    with backfill(region) as process:
        wait_until(lambda: claims() > 0, 60)
        process.kill()
        assert process.communicate(timeout=within(10)) == ("", "")

    glance.hold_after = None
    before = claims()
    assert before < IMAGES
    row = {"region": "RegionOne", "seen": IMAGES}
    assert finish(region) == row | {
        "claimed": IMAGES - before,
        "known": before,
    }
    revision = region.sql("ledger", "SELECT revision FROM head")
    assert finish(region) == row | {"claimed": 0, "known": IMAGES}
    assert region.sql("ledger", "SELECT revision FROM head") == revision
    assert claims() == IMAGES
