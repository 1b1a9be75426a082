"""Images that collide on both sides of a cut, between real agents."""

import json

import pytest
from fleet import INFO, Region, await_reading, create_envelope, running
from one_set import (
    HEARTBEAT,
    SCHEME,
    await_equal,
    await_same_cells,
    colliding,
    moves,
    via,
)
from proxy import Proxy, Way

from ec2map_sync.rules.ec2id import format_id

pytestmark = pytest.mark.services


@pytest.fixture
def links(rabbit_a, rabbit_b):
    with Proxy(rabbit_a.port) as to_one, Proxy(rabbit_b.port) as to_two:
        yield to_one, to_two


@pytest.fixture
def regions(rabbit_a, rabbit_b, mariadb, links, tmp_path_factory):
    directory = tmp_path_factory.mktemp("collisions")
    one = Region("RegionOne", rabbit_a, mariadb, directory)
    two = Region("RegionTwo", rabbit_b, mariadb, directory)
    one.configure(via(two, links[1]))
    two.configure(via(one, links[0]))
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        one.await_images(two.glance.create(3))
        two.await_images(one.glance.create(3))
        yield one, two


def announce(region, image):
    region.glance.send([(INFO, create_envelope(image))])
    region.await_images([image])
    for cell in region.cells:
        assert (SCHEME.derive(image), image) in region.rows(cell)


def listed(region):
    """Give the images that have moved, and the ids that they have now."""
    rows = json.loads(region.command("list", "--moved", "-f", "json"))
    return {row["image"]: row["ec2_id"] for row in rows}


def test_after_a_cut_all_agree_and_who_has_moved_is_said_where_it_did(
    regions, links
):
    one, two = regions
    pairs = [colliding(), colliding()]
    for link in links:
        link.swallow(Way.TO_READER)
    # Each side is once the first, and keeps its id.
    for (first, second), (here, there) in zip(
        pairs, ((one, two), (two, one)), strict=True
    ):
        announce(here, first)
        announce(there, second)
    assert listed(one) == listed(two) == {}

    for link in links:
        link.heal()

    await_equal(one, two, count=10, seconds=4 * HEARTBEAT + 40)
    await_same_cells(one, two)
    for (first, second), here in zip(pairs, (two, one), strict=True):
        old, new = (SCHEME.probe(second, k) for k in (0, 1))
        assert moves(here) == [(second, old, new)]
        assert listed(here) == {second: format_id(new)}
        said = here.command("explain", second)
        assert f"{format_id(old)} became {format_id(new)}" in said
        assert f"because of {first}" in said
        line = f"image {second} has moved from {format_id(old)}"
        here.await_log(line, 5)
        assert f"because of the claim of {first}" in here.log()
    # Where it was not known before the cut was over, it has the same id.
    for region in regions:
        for first, second in pairs:
            assert (SCHEME.derive(first), first) in region.rows("cell1")
            assert (SCHEME.probe(second, 1), second) in region.rows("cell1")
