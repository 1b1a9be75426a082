"""A cell restored from a backup is noticed by the agent that runs."""

from uuid import uuid4

import pytest
from fleet import S3_IMAGES, Region, running
from patience import wait_until

from ec2map_sync.rules.ec2id import ON_DEMAND

pytestmark = pytest.mark.services

AUDITED = "[nova]\naudit_interval = 1\n"


@pytest.fixture(scope="module")
def region(rabbit_a, mariadb, tmp_path_factory):
    region = Region(
        "RegionOne", rabbit_a, mariadb, tmp_path_factory.mktemp("restored")
    )
    region.configure()
    text = region.config_file.read_text()
    assert "[nova]\n" in text
    region.config_file.write_text(text.replace("[nova]\n", AUDITED))
    with running(region):
        region.await_images(region.glance.create(5))
        yield region


def restore(region, cell, rows):
    """Put what a backup had in the place of a cell's table, all at once.

    No dump has to bring the table's counter: it follows the last row then.
    """
    region.sql(cell, S3_IMAGES.replace("s3_images", "backup"))
    for number, uuid in rows:
        region.sql(
            cell,
            "INSERT INTO backup (id, uuid, deleted)"
            f" VALUES ({number}, '{uuid}', 0)",
        )
    region.sql(cell, "RENAME TABLE s3_images TO lost, backup TO s3_images")


def counter(region, cell):
    """Give the next id of the table, without taking it."""
    ((_, create),) = region.sql(cell, "SHOW CREATE TABLE s3_images")
    return int(create.partition("AUTO_INCREMENT=")[2].split()[0])


def asked_by_nova(region, cell):
    """Give the id that Nova makes for an image nobody has announced."""
    image = uuid4()
    region.sql(cell, f"INSERT INTO s3_images (uuid) VALUES ('{image}')")
    found = region.sql(cell, f"SELECT id FROM s3_images WHERE uuid='{image}'")
    return max(number for (number,) in found)  # ours may be there already


def test_rows_that_a_backup_lacks_come_back_and_so_does_the_counter(region):
    before = region.rows("cell1")
    later = region.glance.create(5)
    region.await_images(later)
    everything = region.rows("cell1")

    restore(region, "cell1", before[:2])

    wait_until(lambda: set(everything) <= set(region.rows("cell1")), 60)
    assert asked_by_nova(region, "cell1") in ON_DEMAND
    region.await_log("nova:cell1 is not all as settled")


def test_a_backup_that_lacks_nothing_but_the_counter_is_noticed(region):
    region.await_images(region.uuids("cell1"))
    everything = region.rows("cell0")

    restore(region, "cell0", everything)

    wait_until(lambda: counter(region, "cell0") in ON_DEMAND, 60)
    assert asked_by_nova(region, "cell0") in ON_DEMAND
