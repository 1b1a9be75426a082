"""Images that are in both regions have the same ids, however they came."""

import pytest
from judging import derived, seen_everywhere
from patience import wait_until

KINDS = ("aki", "ari", "ami")
METADATA = [
    f"/latest/meta-data/{kind}-id" for kind in ("kernel", "ramdisk", "ami")
]
"""What a guest asks for, in the same order."""


def upload_machine(glance):
    """Upload a kernel, a ramdisk and the image that needs both."""
    machine = {}
    for kind in KINDS:
        needed = {}
        if kind == "ami":
            needed = {
                "kernel_id": machine["aki"],
                "ramdisk_id": machine["ari"],
            }
        machine[kind] = glance.create(
            container_format=kind, disk_format=kind, **needed
        )
        glance.upload(machine[kind])
    return machine


def post(glance, image, kind):
    """Copy an image as clients do: create it with its id, and upload."""
    glance.create(id=image, container_format=kind, disk_format=kind)
    glance.upload(image)


def download(glance, image, kind):
    """Copy an image as Glance does: by an import from another region."""
    glance.create(id=image, container_format=kind, disk_format=kind)
    glance.start_import(
        image,
        name="glance-download",
        glance_region="RegionOne",
        glance_image_id=image,
    )
    wait_until(lambda: glance.status(image) == "active", 60)


@pytest.mark.parametrize(
    "copy", [download, pytest.param(post, marks=pytest.mark.long)]
)
def test_copies_made_in_reverse_order_have_the_same_ids(cloud, copy):
    one, two = cloud.regions
    before = {cell: two.rows(cell) for cell in two.cells}
    machine = upload_machine(one.images)
    for kind in reversed(KINDS):
        copy(two.images, machine[kind], kind)
    for region in cloud.regions:
        region.await_images(machine.values())

    seen = {
        kind: seen_everywhere(cloud, [image], kind)[0]
        for kind, image in machine.items()
    }

    assert seen == {kind: derived(machine[kind], kind) for kind in KINDS}
    for region in cloud.regions:
        for cell in region.cells:
            with region.nova.process(cell) as nova:
                guest = nova.boot(
                    machine["ami"],
                    kernel=machine["aki"],
                    ramdisk=machine["ari"],
                )
            assert guest.items() >= seen.items()
            with region.nova.process(cell) as nova:
                told = nova.serve(guest["instance"], *METADATA)
            assert told == list(seen.values())
    for cell, rows in before.items():
        assert set(rows) <= set(two.rows(cell))


def test_ids_from_before_we_came_stay_as_they_were(cloud):
    two = cloud.two

    old = {cell: two.rows(cell)[:3] for cell in ("cell1", "cell2")}

    assert [number for number, _ in old["cell1"]] == [1, 2, 3]
    assert [number for number, _ in old["cell2"]] == [1, 2, 3]
    images = [image for _, image in old["cell1"]]
    assert [image for _, image in old["cell2"]] == images[::-1]
    for cell, rows in old.items():
        with two.nova.process(cell) as nova:
            assert nova.look_up(image for _, image in rows) == [
                "ami-00000001",
                "ami-00000002",
                "ami-00000003",
            ]
