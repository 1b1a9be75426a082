"""A mapping travels: from Glance in one region to Nova in every region."""

import pytest
from fleet import Region, captured, created, running

pytestmark = pytest.mark.services


@pytest.fixture
def regions(rabbit_a, rabbit_b, mariadb, tmp_path):
    one = Region("RegionOne", rabbit_a, mariadb, tmp_path)
    two = Region("RegionTwo", rabbit_b, mariadb, tmp_path)
    one.configure(two)
    two.configure(one)
    return one, two


def test_real_notifications_become_the_same_rows_everywhere(regions):
    one, two = regions
    two.sql(
        "cell1",
        "INSERT INTO s3_images (id, uuid, deleted) VALUES (1, 'old-1', 0),"
        " (2, 'old-2', 0), (3, 'old-3', 3)",
    )
    old = two.rows("cell1")
    envelopes = captured(1)

    with running(one, two):
        two.await_log("reading ec2map_sync.RegionTwo of RegionOne")
        one.glance.send((e.routing_key, e.body) for e in envelopes)
        images = created(envelopes)
        one.await_images(images)
        two.await_images(images)

        assert one.stop() == two.stop() == 0
    rows = one.rows("cell1")
    assert one.rows("cell0") == two.rows("cell0") == rows
    assert two.rows("cell1") == old + rows
    assert sorted(images) == one.uuids("cell1")
