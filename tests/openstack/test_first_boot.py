"""The row is there before Nova looks for it; and what happens if not."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pymysql
import pytest
import sqlalchemy as sa
from cloud import UNWATCHED
from judging import SCHEME, derived, on_demand, seen_everywhere
from patience import within
from record import spread

from ec2map_sync.rules.ec2id import ON_DEMAND, parse_id

IMAGES = 40
RACED = 300


@contextmanager
def watching(region):
    """Give what waits until a row is in every cell, and tells when."""
    with ExitStack() as stack:
        cursors = []
        for url in map(sa.make_url, region.cells.values()):
            connection = pymysql.connect(
                host=url.host,
                port=url.port,
                user=url.username,
                database=url.database,
                autocommit=True,
            )
            cursors.append(stack.enter_context(connection).cursor())

        def await_row(image):
            number = SCHEME.derive(image)
            deadline = time.monotonic() + within(30)
            for cursor in cursors:
                while not cursor.execute(
                    "SELECT 1 FROM s3_images WHERE id = %s", (number,)
                ):
                    assert time.monotonic() < deadline, image
                    time.sleep(0.001)
            return time.monotonic()

        yield await_row


def test_the_row_is_in_every_cell_before_the_image_can_be_booted(
    cloud, record
):
    one = cloud.one
    own, peers, images = [], [], []
    with ExitStack() as stack:
        await_own, await_peer = (
            stack.enter_context(watching(region)) for region in cloud.regions
        )
        novas = [
            stack.enter_context(region.nova.process(cell))
            for region in cloud.regions
            for cell in region.cells
        ]
        for _ in range(IMAGES):
            image = one.images.create()
            replied = time.monotonic()
            own.append(await_own(image) - replied)
            peers.append(await_peer(image) - replied)

            booted = {nova.boot(image)["ami"] for nova in novas}

            assert booted == {derived(image)}
            one.images.upload(image)
            images.append(image)

    assert seen_everywhere(cloud, images) == list(map(derived, images))
    what = "From Glance's reply to image.create to the row in all three cells"
    record.note(f"{what} of the own region, {IMAGES} images", spread(own))
    record.note(f"{what} of the peer", spread(peers))


def test_an_image_booted_as_soon_as_glance_replies_may_be_too_early(
    cloud, record
):
    one, two = cloud.regions
    images, took, early = [], [], Counter()
    with (
        one.nova.process("cell1") as nova,
        two.nova.process("cell1") as peers_nova,
    ):
        for _ in range(IMAGES):
            image = one.images.create()
            replied = time.monotonic()

            with ThreadPoolExecutor() as pool:
                boots = [
                    pool.submit(process.boot, image)
                    for process in (nova, peers_nova)
                ]
            took.append(time.monotonic() - replied)

            for region, boot in zip(cloud.regions, boots, strict=True):
                number = parse_id(boot.result()["ami"])[1]
                early[region] += number in ON_DEMAND
            images.append(image)
    for region in cloud.regions:
        region.await_images(images)

    # A row that Nova was too quick for is beside ours: the lower one counts.
    assert seen_everywhere(cloud, images) == list(map(derived, images))
    for region in cloud.regions:
        assert on_demand(region, "cell1") == early[region]
        region.sql(
            "cell1", f"DELETE FROM s3_images WHERE id >= {ON_DEMAND.first}"
        )
    what = "An instance created at the moment of the reply was too early"
    record.note(f"{what}, in the own region", f"{early[one]} of {IMAGES}")
    record.note(f"{what}, in the peer", f"{early[two]} of {IMAGES}")
    record.note("Creating both instances took", spread(took))


def race(region, cell, images):
    """Let two Nova processes look up the same images at the same time."""
    with (
        region.nova.process(cell) as first,
        region.nova.process(cell) as second,
        ThreadPoolExecutor() as pool,
    ):
        runs = [pool.submit(nova.look_up, images) for nova in (first, second)]
        return [run.result() for run in runs]


@pytest.mark.long
def test_two_nova_processes_that_race_give_one_id_to_each_image(cloud, record):
    one = cloud.one
    began = time.monotonic()
    images = [one.images.create() for _ in range(RACED)]
    created = time.monotonic()
    for region in cloud.regions:
        region.await_images(images)
    record.note(
        f"{RACED} images created one after another, until all were mapped",
        f"{created - began:.1f} s, and {time.monotonic() - created:.1f} s",
    )
    expected = list(map(derived, images))

    for region in cloud.regions:
        before = on_demand(region, "cell1")

        assert race(region, "cell1", images) == [expected, expected]

        assert on_demand(region, "cell1") == before


def test_without_us_the_same_race_gives_some_images_two_ids(cloud, record):
    one = cloud.one
    images = [str(uuid4()) for _ in range(RACED)]

    first, second = race(one, UNWATCHED, images)

    twice = sum(a != b for a, b in zip(first, second, strict=True))
    assert twice
    record.note(
        "Two Nova processes racing for images: those with two ids, with us",
        f"0 of {RACED}",
    )
    record.note(
        "the same in a cell that we do not know", f"{twice} of {RACED}"
    )
