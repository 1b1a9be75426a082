"""Nova that remembers ids in memcached, and what makes it forget them."""

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from itertools import islice
from uuid import uuid4

import pytest
from commands import BIN, run
from judging import SCHEME, derived
from nova_processes import Nova
from patience import wait_until, within
from servers import Memcached

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.ec2id import format_id
from ec2map_sync.sinks.memory import key_of
from ec2map_sync.sql.database import create_engine, parse_url

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


def put(region, cell, number, image):
    """Make a row as it was there before us."""
    region.sql(
        cell,
        f"INSERT INTO s3_images (id, uuid) VALUES ({number}, '{image}')",
    )


@contextmanager
def paused(server):
    """Let a server answer nobody for a while; it keeps what it has."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def await_id(nova, running, image, ec2_id):
    """Wait, a second, until a running process and a new one say an id."""
    wait_until(lambda: running.look_up([image]) == [ec2_id], 1)
    assert ask(nova, image) == [ec2_id]


def colliding():
    """Make two UUIDs that would both have the same number."""
    seen = {}
    while True:
        image = str(uuid4())
        other = seen.setdefault(SCHEME.derive(image), image)
        if other != image:
            return image, other


def claim(region, **fields):
    """Let a region know of a claim, as of one that came late."""
    engine = create_engine(parse_url(region.ledger, "ledger"))
    Ledger(engine, SCHEME).record([Claim(**fields)])
    engine.dispose()


@pytest.mark.long
def test_without_us_nova_remembers_an_old_id_across_restarts(cloud, nova):
    one = cloud.one
    with told(one, ""), nova.process("cell1") as running:
        image = one.images.create()
        early = running.look_up([image])
        one.start()
        assert early[0] in one.find_divergence(image)
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
        one.find_divergence(image)
        one.command("divergence", "resolve", "rewrite", image)


@pytest.mark.long
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
        one.find_divergence(image)

        one.command("divergence", "resolve", "rewrite", image)

        await_id(nova, running, image, derived(image))


def guests_see(region, *options):
    """Count, by cell, what guests see otherwise than is settled."""
    done = subprocess.run(
        [
            *(BIN / "ec2map-sync", "--config-file", region.config_file),
            *("verify", "--guests", "-f", "json", *options),
        ],
        capture_output=True,
        text=True,
        timeout=within(120),
        check=False,
    )
    assert done.returncode in {0, 1}, done
    return {
        (line["what"], line["name"]): line["different"]
        for line in json.loads(done.stdout)
    }


def test_an_adopted_id_and_one_that_moved_are_what_nova_says(
    cloud, nova, memcached
):
    one = cloud.one
    image, other = colliding()
    option = f"memcached_servers = {memcached.address}"
    with (
        told(one, option),
        nova.process("cell1") as running,
        nova.process("cell2") as in_cell2,
    ):
        one.start()
        adopted = one.images.create()
        one.images.create(id=image)
        one.await_images([image, adopted])
        assert running.look_up([image]) == [derived(image)]
        running.look_up([adopted])

        # It moves: another one has wished for the number before.
        claim(one, claimed_at=1, image=other)

        _, moved = map(format_id, islice(SCHEME.probes(image), 2))
        await_id(nova, running, image, moved)
        # One memo for all cells.
        wait_until(lambda: in_cell2.look_up([image]) == [moved], 1)

        for cell in one.cells:
            put(one, cell, 4713, adopted)

        def agreed():
            """Whether all agree on what is claimed now, and it was adopted."""
            file = str(one.config_file)
            return run("adopt", "--config-file", file).code == 0

        with paused(memcached):
            wait_until(agreed, 60)
            one.await_log("memcached does not answer at")
        await_id(nova, running, adopted, "ami-00001269")
        assert in_cell2.look_up([adopted]) == ["ami-00001269"]


def test_what_guests_see_is_told(cloud, nova, memcached):
    one = cloud.one
    option = f"memcached_servers = {memcached.address}"
    with told(one, option), nova.process("cell1") as running:
        one.start()
        image = one.images.create()
        one.await_images([image])
        guest = running.boot(image)["instance"]
        before = guests_see(one)

        # A row that Nova finds before ours, and something burnt in.
        put(one, "cell1", 4714, image)
        one.sql(
            "cell1",
            "UPDATE instances SET config_drive = 'True', "
            f"launched_at = '2020-01-01' WHERE uuid = '{guest}'",
        )
        memcached.restart()
        rows = one.rows("cell1")
        seen = guests_see(
            one,
            *("--nova-python", nova.programs.path("python")),
            *("--nova-config-file", nova.config_file),
        )

        for what in ("guests", "instances"):
            assert seen[what, "nova:cell1"] == before[what, "nova:cell1"] + 1
            assert seen[what, "nova:cell2"] == before[what, "nova:cell2"]
        # It is asked of some images, of which this need not be one.
        assert 0 <= seen["nova", "nova:cell1"] <= seen["guests", "nova:cell1"]
        # Asking has made nothing.
        assert one.rows("cell1") == rows
        assert not memcached.holds(key_of(image))
        assert ask(nova, image) == ["ami-0000126a"]
        one.sql("cell1", "DELETE FROM s3_images WHERE id = 4714")
