"""Nova that remembers ids in memcached, and what makes it forget them."""

from contextlib import contextmanager

import pytest
from judging import derived
from nova_processes import Nova
from patience import wait_until
from servers import Memcached

CACHE = """
[cache]
enabled = true
backend = dogpile.cache.pymemcache
memcache_servers = {address}
"""


@pytest.fixture
def memcached(tmp_path):
    with Memcached(tmp_path / "memcached") as server:
        yield server


@pytest.fixture
def nova(cloud, memcached, tmp_path):
    """Give a Nova of RegionOne as deployment tools set it up."""
    one = cloud.one
    nova = Nova(tmp_path / "nova", one.nova.programs)
    text = one.nova.config_file.read_text()
    nova.config_file.write_text(text + CACHE.format(address=memcached.address))
    with nova:
        yield nova


@contextmanager
def told(region, option):
    """Let an agent start with another line in [nova]; it is stopped first."""
    text = region.config_file.read_text()
    assert region.stop() == 0
    region.config_file.write_text(
        text.replace("[nova]\n", f"[nova]\n{option}\n")
    )
    try:
        yield
    finally:
        if region.agent is not None:
            region.stop()
        region.config_file.write_text(text)
        region.start()
        # Other tests find it at work.
        region.await_images([region.images.create()])


def ask(nova, image):
    with nova.process("cell1") as process:
        return process.look_up([image])


def test_without_us_nova_remembers_an_old_id_across_restarts(cloud, nova):
    one = cloud.one
    with told(one, ""), nova.process("cell1") as running:
        image = one.images.create()
        early = running.look_up([image])
        one.start()
        wait_until(lambda: early[0] in one.command("divergence", "list"), 30)
        one.command("divergence", "resolve", "rewrite", image)

        assert early != [derived(image)]
        assert running.look_up([image]) == ask(nova, image) == early


def test_a_row_that_comes_late_is_what_nova_says(cloud, nova, memcached):
    one = cloud.one
    option = f"memcached_servers = {memcached.address}"
    with told(one, option), nova.process("cell1") as running:
        image = one.images.create()
        assert running.look_up([image]) != [derived(image)]

        one.start()

        wait_until(lambda: running.look_up([image]) == [derived(image)], 30)
        assert ask(nova, image) == [derived(image)]
        # The row that Nova has made beside ours is no news to other tests.
        wait_until(lambda: image in one.command("divergence", "list"), 30)
        one.command("divergence", "resolve", "rewrite", image)


def test_a_rewritten_row_is_what_nova_says(cloud, nova, memcached):
    one = cloud.one
    option = f"memcached_servers = {memcached.address}"
    with told(one, option), nova.process("cell1") as running:
        one.start()
        image = one.images.create()
        one.await_images([image])
        legacy = "INSERT INTO s3_images (id, uuid) VALUES (4711, '{}')"
        one.sql("cell1", legacy.format(image))
        assert running.look_up([image]) == ["ami-00001267"]
        one.stop()
        one.start()  # it looks at everything
        wait_until(lambda: image in one.command("divergence", "list"), 30)

        one.command("divergence", "resolve", "rewrite", image)

        wait_until(lambda: running.look_up([image]) == [derived(image)], 5)
        assert ask(nova, image) == [derived(image)]
