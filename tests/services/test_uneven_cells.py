"""Many cells, some of which hang, or are gone: nobody waits for them."""

import json
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from fleet import Region, running
from patience import wait_until
from proxy import Proxy, Way, as_it_comes
from servers import free_port

pytestmark = pytest.mark.services

GOOD, HANGING, GONE = 20, 3, 2
SOON = 20
SPARE = 8 * 2**20
"""Bytes that the Writer may have more at the end."""


class Large(Region):
    cell_names = tuple(f"cell{n}" for n in range(GOOD + HANGING + GONE))


@pytest.fixture
def region(rabbit_a, mariadb, tmp_path):
    """A region of which only the good cells are looked at."""
    region = Large("RegionOne", rabbit_a, mariadb, tmp_path)
    good = dict(list(region.cells.items())[:GOOD])
    with ExitStack() as stack:
        proxies = [
            stack.enter_context(Proxy(mariadb.port, as_it_comes))
            for _ in range(HANGING)
        ]
        ports = [proxy.port for proxy in proxies]
        ports += [free_port() for _ in range(GONE)]
        odd = list(region.cells)[GOOD:]
        for name, port in zip(odd, ports, strict=True):
            url = sa.make_url(region.cells[name]).set(port=port)
            region.cells[name] = url.render_as_string(hide_password=False)
        region.configure()
        region.cells = good
        with running(region):
            region.await_images(region.glance.create(5))
            for proxy in proxies:
                proxy.swallow(Way.TO_READER)
            yield region


def states(region):
    """Give how the status calls each sink, by name."""
    lines = json.loads(region.command("status", "-f", "json", code=1))
    return {li["name"]: li["state"] for li in lines if li["what"] == "sink"}


def test_no_cell_waits_memory_is_flat_and_the_status_says_who_does(region):
    good = {f"nova:{name}" for name in region.cells}
    found = []
    for _ in range(4):
        region.await_images(region.glance.create(100), SOON)
        found.append(region.memory("writer"))
    assert 0 < found[-1] < found[0] + SPARE

    def told():
        found = states(region)
        fine = {name for name, state in found.items() if "up to" in state}
        assert len(found) == GOOD + HANGING + GONE
        return fine == good

    wait_until(told, 60)
