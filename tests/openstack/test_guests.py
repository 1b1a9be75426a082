"""What guests read of their image, by their own code.

For 20 images, as the page has it, run

    EC2MAP_SYNC_GUESTS=20 tools/test --only-tests tests/openstack

or, these alone, `tox -e guests`; otherwise there are fewer.
"""

import os
from contextlib import ExitStack

import pytest
from guests import READERS, Guest, read, version
from judging import derived

from ec2map_sync.rules.ec2id import ON_DEMAND

IMAGES = int(os.environ.get("EC2MAP_SYNC_GUESTS", "2"))


def read_everywhere(cloud, images):
    """Boot images in every cell of both regions; what is read, by image.

    Each cell boots them in an order of its own, as users do.
    """
    with ExitStack() as stack:
        guests, whose = [], []
        places = [(r, c) for r in cloud.regions for c in r.cells]
        for turn, (region, cell) in enumerate(places):
            nova = stack.enter_context(region.nova.process(cell))
            for at in range(len(images)):
                image = images[(at + turn) % len(images)]
                guests.append(Guest(nova.boot(image)["instance"], nova))
                whose.append(image)
        found = {image: {name: set() for name in READERS} for image in images}
        for image, one in zip(whose, read(guests), strict=True):
            for name in READERS:
                found[image][name].add(one[name])
    return found


@pytest.fixture
def without_us(cloud):
    """Stop all agents; what Nova makes meanwhile is gone afterwards."""
    for region in cloud.regions:
        assert region.stop() == 0
    yield
    for region in cloud.regions:
        for cell in region.cells:
            region.sql(
                cell, f"DELETE FROM s3_images WHERE id >= {ON_DEMAND.first}"
            )
        region.start()
    # Other tests find them at work.
    image = cloud.one.images.create()
    for region in cloud.regions:
        region.await_images([image])


def test_guests_read_one_id_of_an_image_wherever_they_are(cloud, record):
    images = [cloud.one.images.create() for _ in range(IMAGES)]
    for region in cloud.regions:
        region.await_images(images)

    found = read_everywhere(cloud, images)

    for image, readers in found.items():
        assert readers == {name: {derived(image)} for name in READERS}
    note(record, "with us", found)


@pytest.mark.long
@pytest.mark.usefixtures("without_us")
def test_without_us_guests_read_several_ids_of_an_image(cloud, record):
    images = [cloud.one.images.create() for _ in range(IMAGES)]

    found = read_everywhere(cloud, images)

    assert all(len(ids) > 1 for r in found.values() for ids in r.values())
    note(record, "without us", found)


def note(record, how, found):
    names = {"cloud_init": f"cloud-init {version()}"}
    names |= {"facter": "Facter's rules", "ohai": "Ohai's rules"}
    for reader, name in names.items():
        counts = sorted(len(readers[reader]) for readers in found.values())
        least, most = counts[0], counts[-1]
        said = f"{least}" if least == most else f"{least} to {most}"
        record.note(
            f"Ids that guests of one image read as ami-id in the six cells of"
            f" both regions, {how}, by {name}; {len(found)} images",
            said,
        )
