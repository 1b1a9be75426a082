"""Whatever images Glance has, they have one id everywhere."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from glance_api import SIZE_CAP, Refused
from judging import derived, seen_everywhere, seen_in
from patience import wait_until


def assert_mapped(cloud, *images):
    for region in cloud.regions:
        region.await_images(images)
    assert seen_everywhere(cloud, images) == [derived(i) for i in images]


def test_an_image_that_is_never_uploaded_has_its_id(cloud):
    glance = cloud.one.images

    image = glance.create(container_format=None, disk_format=None)

    assert_mapped(cloud, image)
    assert glance.status(image) == "queued"


def test_a_hidden_image_has_its_id(cloud):
    glance = cloud.two.images

    image = glance.create(os_hidden=True)
    glance.upload(image)

    assert_mapped(cloud, image)
    assert image not in glance.images()


def test_an_id_in_upper_case_means_the_same_in_both_spellings(cloud):
    image = str(uuid4()).upper()

    assert cloud.one.images.create(id=image) == image
    cloud.one.images.upload(image)

    assert_mapped(cloud, image)
    for region in cloud.regions:
        for cell in region.cells:
            assert seen_in(region, cell, [image.lower()]) == [derived(image)]


def test_an_image_that_glance_fetches_from_the_web_has_its_id(cloud, tmp_path):
    (tmp_path / "disk").write_bytes(b"data")
    glance = cloud.one.images
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever).start()
        image = glance.create()
        glance.start_import(
            image,
            name="web-download",
            uri=f"http://127.0.0.1:{web.server_port}/disk",
        )
        wait_until(lambda: glance.status(image) == "active", 60)
        web.shutdown()

    assert_mapped(cloud, image)


def test_an_image_whose_upload_fails_has_its_id(cloud):
    glance = cloud.two.images
    image = glance.create()

    with pytest.raises(Refused, match="413"):
        glance.upload(image, bytes(SIZE_CAP + 1))

    assert_mapped(cloud, image)
    assert glance.status(image) == "queued"
