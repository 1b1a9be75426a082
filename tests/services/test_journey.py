"""A mapping travels: from Glance in one region to Nova in every region."""

import pytest
from fleet import (
    INFO,
    await_reading,
    captured,
    create_envelope,
    created,
    pair,
    running,
)

from ec2map_sync.rules.ec2id import ON_DEMAND, Scheme, format_id, parse_id

pytestmark = pytest.mark.services

OLD = "(1, 'old-1', 0), (2, 'old-2', 0), (3, 'old-3', 3)"


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("journey")
    one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
    two.sql("cell1", f"INSERT INTO s3_images (id, uuid, deleted) VALUES {OLD}")
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        yield one, two


@pytest.fixture(scope="module")
def images(regions):
    """What Glance of region one has announced, when it is everywhere."""
    one, _ = regions
    envelopes = captured(1)
    one.glance.send((e.routing_key, e.body) for e in envelopes)
    images = created(envelopes)
    for region in regions:
        region.await_images(images)
    return images


def test_real_notifications_become_the_same_rows_everywhere(regions, images):
    one, two = regions

    rows = one.rows("cell1")
    assert one.rows("cell0") == two.rows("cell0") == rows
    assert two.rows("cell1")[3:] == rows
    assert one.uuids("cell1") == sorted(images)


def test_rows_that_nova_has_made_stay_as_they_were(regions, images):
    _, two = regions
    assert images

    rows = two.sql(
        "cell1",
        "SELECT id, uuid, deleted, updated_at FROM s3_images WHERE id < 4",
    )

    assert rows == [
        (1, "old-1", 0, None),
        (2, "old-2", 0, None),
        (3, "old-3", 3, None),
    ]


def test_an_image_is_written_as_glance_spells_it(regions, images):
    upper = {image for image in images if image != image.lower()}
    assert upper

    for region in regions:
        for cell in region.cells:
            assert upper <= set(region.uuids(cell))


def test_the_id_on_the_command_line_is_the_row(regions, images):
    image = min(images, key=str.islower)
    for region in regions:
        numbers = {uuid: number for number, uuid in region.rows("cell1")}

        said = region.command("id", image).strip()

        assert parse_id(said)[1] == numbers[image]
        assert said == format_id(numbers[image])


def test_images_of_the_other_region_have_the_ids_they_have_here(
    regions, images
):
    one, two = regions
    before = dict(one.rows("cell1"))
    envelopes = captured(2)
    theirs = created(envelopes)
    assert len(theirs & images) == 9

    two.glance.send((e.routing_key, e.body) for e in envelopes)
    one.await_images(images | theirs)
    two.await_images(images | theirs)

    rows = one.rows("cell1")
    assert one.rows("cell0") == two.rows("cell0") == rows
    assert two.rows("cell1")[3:] == rows
    assert dict(rows).items() >= before.items()
    assert one.uuids("cell1") == sorted(images | theirs)


def test_what_nova_numbers_itself_lies_above_every_derived_number(regions):
    scheme = Scheme(b"tests")
    highest = max(
        (f"00000000-0000-4000-8000-{n:012x}" for n in range(20_000)),
        key=scheme.derive,
    )
    one, _ = regions
    one.glance.send([(INFO, create_envelope(highest))])
    for region in regions:
        region.await_images([highest])
        for cell in region.cells:
            assert region.rows(cell)[-1][1] == highest

            region.sql(cell, "INSERT INTO s3_images (uuid) VALUES ('nova')")

            number, uuid = region.rows(cell)[-1]
            assert uuid == "nova"
            assert number >= ON_DEMAND.first


def test_agents_end_with_exit_code_0(regions):
    assert [region.stop() for region in regions] == [0, 0]
