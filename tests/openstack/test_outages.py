"""What was missed, deleted or done behind our back costs no image its id."""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from uuid import uuid4

import pytest
from judging import derived, seen_everywhere
from patience import wait_until

from ec2map_sync.rules.ec2id import ON_DEMAND, parse_id

UPLOAD = {"create", "update", "prepare", "upload", "activate"}
"""What Glance says of a plain upload; update twice."""


def test_another_reader_of_the_same_notifications_gets_every_one(
    cloud, ceilometers, record
):
    expected = sorted(f"image.{event}" for event in (*UPLOAD, "update"))
    for region in cloud.regions:
        images = [region.images.create() for _ in range(10)]
        for image in images:
            region.images.upload(image)

        assert seen_everywhere(cloud, images) == list(map(derived, images))
        heard = ceilometers[region].await_events(images, len(expected))
        assert list(map(sorted, heard)) == [expected] * len(images)
    record.note(
        "Notifications of 10 uploads in each region that another reader got:"
        " of its own topic here, of the one that we share by a pool there",
        f"{10 * len(expected)} of {10 * len(expected)}, twice",
    )


def test_an_image_booted_while_the_agent_was_away_is_a_divergence(cloud):
    one = cloud.one
    one.command("verify")
    assert one.stop() == 0
    image = one.images.create()
    with one.nova.process("cell1") as nova:
        early = nova.boot(image)["ami"]
        assert parse_id(early)[1] in ON_DEMAND

        one.start()
        for region in cloud.regions:
            region.await_images([image])

        # Ours is written beside it: new processes see that, this one not.
        assert seen_everywhere(cloud, [image]) == [derived(image)]
        assert nova.look_up([image]) == [early]
    assert early in one.find_divergence(image)
    one.command("verify", code=1)
    told = one.command("explain", image)
    assert f"{early}, an id that Nova has made on demand" in told
    one.command("divergence", "resolve", "rewrite", image)
    one.command("verify")
    numbers = [n for n, uuid in one.rows("cell1") if uuid == image]
    assert numbers == [parse_id(derived(image))[1]]


def test_images_that_a_dead_broker_was_to_announce_are_found_by_the_audit(
    cloud, ceilometers, record
):
    one = cloud.one
    images = [str(uuid4()) for _ in range(20)]
    one.rabbit.stop()
    with ThreadPoolExecutor(4) as pool:
        posts = [pool.submit(one.images.create, id=i) for i in images]
        # One of them waits for the broker.
        wait_until(lambda: sum(p.done() for p in posts) >= len(posts) - 1)
        answered = sum(post.done() for post in posts)

        one.rabbit.start()
        started = time.monotonic()

        for region in cloud.regions:
            region.await_images(images, 60)
        took = time.monotonic() - started
        wait(posts)
    assert [post.result() for post in posts] == images

    assert seen_everywhere(cloud, images) == list(map(derived, images))
    lost = sum(image not in ceilometers[one].heard for image in images)
    assert lost
    record.note(
        f"{len(images)} images created while Glance's broker was down:"
        " answered meanwhile, never announced, mapped by the audit",
        f"{answered}, {lost}, all",
    )
    record.note(
        "Their ids in both regions, after the broker was back",
        f"{took:.1f} s",
    )


def test_an_image_that_comes_back_after_a_purge_has_its_old_id(cloud):
    one = cloud.one
    image = one.images.create()
    one.images.upload(image)
    for region in cloud.regions:
        region.await_images([image])
    one.images.delete(image)

    for table in ("purge", "purge_images_table"):
        one.images.manage("db", table, "--age_in_days", "0")

    assert seen_everywhere(cloud, [image]) == [derived(image)]
    assert one.images.create(id=image) == image
    one.images.upload(image)
    assert seen_everywhere(cloud, [image]) == [derived(image)]


@pytest.mark.long
def test_rows_survive_the_archive_and_the_purge_of_nova(cloud):
    one = cloud.one
    image = one.images.create()
    one.await_images([image])
    for cell in one.cells:
        with one.nova.process(cell) as nova:
            nova.ask("destroy", instance=nova.boot(image)["instance"])
    before = {cell: one.rows(cell) for cell in one.cells}

    # It ends with 1 if it has archived something.
    one.nova.manage("db", "archive_deleted_rows", "--all-cells", code=1)
    one.nova.manage("db", "purge", "--all", "--all-cells")

    for cell, rows in before.items():
        assert set(rows) <= set(one.rows(cell))
        gone = one.sql(cell, "SELECT COUNT(*) FROM instances WHERE deleted")
        assert gone == [(0,)]
    assert seen_everywhere(cloud, [image]) == [derived(image)]
