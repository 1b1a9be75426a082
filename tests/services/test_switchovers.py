"""Two regions behind a proxy: what a switch of the database server costs."""

import time
from dataclasses import dataclass

import pytest
from fleet import Load, await_reading, pair, running
from one_set import await_same_cells
from patience import wait_until, within
from servers import HAProxy, MariaDB, replicated

pytestmark = [pytest.mark.services, pytest.mark.long]

SWITCH = 10
"""Seconds from a switch to the next image's row in every cell."""


@dataclass(frozen=True)
class Behind:
    """A server, for accounts like others, by way of a proxy."""

    server: MariaDB
    proxy: HAProxy

    def create_database(self, name):
        self.server.create_database(name)
        place = f"u:p@127.0.0.1:{self.proxy.port}"
        return f"mysql+pymysql://{place}/{name}?charset=utf8mb4"


@pytest.fixture
def servers(tmp_path):
    """Give a primary, and one that follows it."""
    with replicated(tmp_path) as (one, two):
        one.let_in("u")
        yield one, two


@pytest.mark.parametrize("leave", [HAProxy.take_out, HAProxy.cut_off])
def test_rows_go_on_within_ten_seconds_of_a_switch(
    servers, rabbit_a, rabbit_b, tmp_path, leave
):
    """The old primary can be read only, and goes on to answer."""
    old, new = servers
    with HAProxy(tmp_path / "haproxy", old, new) as proxy:
        one, two = pair(rabbit_a, rabbit_b, Behind(old, proxy), tmp_path)
        with running(one, two):
            await_reading(one, two)
            await_reading(two, one)
            with Load(one.glance, 0.1) as load, Load(two.glance, 0.1) as other:
                load.await_more()
                other.await_more()
                began = time.monotonic()
                old.execute("SET GLOBAL read_only = 1")
                left = promote(new, old)
                leave(proxy, old)
                images = one.glance.create(1) | two.glance.create(1)
                for region in (one, two):
                    region.await_images(images, SWITCH)
                seconds = time.monotonic() - began
                print(f"{seconds:.1f} s")
                assert seconds < within(SWITCH)
                load.await_more()
                other.await_more()
            for region in (one, two):
                region.await_images([*load.confirmed, *other.confirmed], 60)
            await_same_cells(one, two)
    assert position(old) == left
    for region in (one, two):
        assert "Traceback" not in region.log()


def promote(new, old):
    """Let the new one come as far as the old one has; tell how far that is."""
    reached = position(old)
    wait_until(
        lambda: new.execute("SELECT @@gtid_slave_pos") == [(reached,)], 30
    )
    new.execute("STOP SLAVE")
    return reached


def position(server):
    """Tell how far a server has come by itself."""
    ((reached,),) = server.execute("SELECT @@gtid_binlog_pos")
    return reached
