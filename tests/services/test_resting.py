"""Under a server that ends whoever rests for a second, agents go on."""

import pytest
from fleet import await_reading, pair, running
from patience import wait_until
from servers import MariaDB

pytestmark = [pytest.mark.services, pytest.mark.long]

SOON = 5
ENDED = 20


@pytest.fixture
def impatient(tmp_path):
    with MariaDB(tmp_path / "mariadb", "--wait-timeout=1") as server:
        yield server


def ended(server):
    """Count the sessions that it has ended."""
    ((_, count),) = server.execute("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")
    return int(count)


def test_whoever_rests_goes_on_at_once_and_says_nothing(
    impatient, rabbit_a, rabbit_b, tmp_path
):
    one, two = pair(rabbit_a, rabbit_b, impatient, tmp_path)
    for region in (one, two):
        region.glance.declare()
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        since = [(region, len(region.log())) for region in (one, two)]
        before = ended(impatient)
        wait_until(lambda: ended(impatient) > before + ENDED, 60)

        images = one.glance.create(1) | two.glance.create(1)

        for region in (one, two):
            region.await_images(images, SOON)
        for region, start in since:
            log = region.log(start)
            assert not {"WARNING", "ERROR", "Traceback"} & set(log.split())
