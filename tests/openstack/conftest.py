import sys
from pathlib import Path

import pytest
from fleet import await_reading, running

# What only these tests need is not on the path of the others.
sys.path.insert(0, str(Path(__file__).parent))

from ceilometer import Ceilometer
from cloud import built
from installed import Programs
from record import Record

OLDER = 3


def pytest_addoption(parser):
    parser.addoption(
        "--record", help="file for what was measured, for the documentation"
    )


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.services)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def record(request):
    """What is measured on the way."""
    record = Record()
    yield record
    file = request.config.getoption("--record", None)
    if file is not None:
        programs = Programs.installed()
        record.write(request.config.rootpath / file, programs)


@pytest.fixture(scope="session")
def whole_cloud(tmp_path_factory):
    """Two regions; the second one has booted images before we came."""
    with built(tmp_path_factory.mktemp("cloud")) as cloud:
        one, two = cloud.regions
        older = [two.images.create(name="older") for _ in range(OLDER)]
        for cell, images in (("cell1", older), ("cell2", older[::-1])):
            with two.nova.process(cell) as nova:
                for image in images:
                    nova.boot(image)
        one.images.create(name="first")  # and Glance's exchange is there
        with running(one, two):
            await_reading(one, two)
            await_reading(two, one)
            for region in cloud.regions:
                region.await_log("listening on")
                region.await_log("audit of Glance")
                region.await_images(older)
            yield cloud


@pytest.fixture
def cloud(whole_cloud, request):
    """The cloud, with all agents at work."""
    failed = request.session.testsfailed
    said = {region: len(region.log()) for region in whole_cloud.regions}
    for region in whole_cloud.regions:
        if region.agent is None:
            region.start()
    yield whole_cloud
    if request.session.testsfailed > failed:
        for region, begin in said.items():
            print(f"--- log of {region.name}\n{region.log(begin)[-8000:]}")


@pytest.fixture(scope="session")
def ceilometers(whole_cloud):
    """Who else reads Glance's notifications, in either region."""
    one, two = whole_cloud.regions
    with Ceilometer(one) as first, Ceilometer(two) as second:
        yield {one: first, two: second}
