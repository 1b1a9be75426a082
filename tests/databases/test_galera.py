"""A ledger and a cell in a Galera cluster; two hosts use different nodes.

With EC2MAP_SYNC_TEST_GALERA=long (``tox -e galera``), 10,000 notifications
while ten nodes are killed.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import schemas
import sqlalchemy as sa
from fleet import INFO, Load, Region, create_envelope, running
from one_set import SCHEME, second_host
from patience import wait_until, within
from servers import Galera

from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.rules.claims import Claim, Sighting, print_of
from ec2map_sync.rules.ec2id import ON_DEMAND
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url
from ec2map_sync.sql.statements import batched

pytestmark = pytest.mark.services

LONG = os.environ.get("EC2MAP_SYNC_TEST_GALERA") == "long"
IMAGES = 10_000 if LONG else 400
KILLED = 10 if LONG else 2


@pytest.fixture(scope="module")
def cluster():
    """Three nodes that all take writes."""
    with ExitStack() as stack:
        place = tempfile.TemporaryDirectory(prefix="ec2map-", dir="/tmp")
        directory = Path(stack.enter_context(place))
        directory.chmod(0o755)  # rsync is nobody, see Galera
        first = stack.enter_context(Galera(directory / "1"))
        others = [
            stack.enter_context(Galera(directory / name, first))
            for name in ("2", "3")
        ]
        yield [first, *others]


class Host:
    """A host of the region, without its agent: on the node that it uses."""

    def __init__(self, node, ledger, cell):
        self.engines = [
            create_engine(parse_url(node.url(name), "x"), patience=20)
            for name in (ledger, cell)
        ]
        self.ledger = Ledger(self.engines[0], SCHEME)
        sink = NovaSink("cell1", self.engines[1])
        self.writer = Writer(self.ledger, sink, rewrite=False)

    def close(self):
        for engine in self.engines:
            engine.dispose()


@pytest.fixture
def hosts(cluster):
    ledger, cell = f"ledger_{uuid4().hex}", f"cell_{uuid4().hex}"
    for name in (ledger, cell):
        cluster[0].create_database(name)
    one, two = (Host(node, ledger, cell) for node in cluster[:2])
    schema.upgrade(one.engines[0])
    schemas.create(one.engines[1], schemas.S3_IMAGES)
    yield one, two
    one.close()
    two.close()


def crash(node):
    """What it lacks then it gets from another's cache (IST)."""
    node.kill()


def lose_its_disk(node):
    """It gets everything anew (SST)."""
    node.kill()
    node.forget()


WAYS = (
    (crash, "rsync IST completed on joiner"),
    (lose_its_disk, "rsync SST completed on joiner"),
)


def test_a_read_sees_what_another_node_has_committed(cluster, hosts):
    one, two = hosts
    assert two.ledger.head().revision == 0
    held = cluster[1].connect()
    with held, held.cursor() as cursor, ThreadPoolExecutor(1) as thread:
        cursor.execute("FLUSH TABLES WITH READ LOCK")  # it lags behind now
        one.ledger.record([Claim(claimed_at=1, image=str(uuid4()))])
        reading = thread.submit(two.ledger.head)
        with pytest.raises(TimeoutError):
            reading.result(1)
        cursor.execute("UNLOCK TABLES")
        assert reading.result(within(30)).revision == 1


def test_writers_on_two_nodes_take_turns_without_an_error(cluster, hosts):
    before = sum(map(conflicts, cluster))
    images = [str(uuid4()) for _ in range(100)]

    def work(host, parts):
        for some in batched(parts, 2):
            host.ledger.see([Sighting(image=i, uuid=i) for i in some])
            host.writer.step()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, hosts, [images[:60], images[40:]]))

    assert sum(map(conflicts, cluster)) > before
    for host in hosts:
        while host.writer.step():
            pass
    assert in_order(hosts[1]) == set(images)
    assert rows(hosts[1]) == {SCHEME.derive(i): i for i in images}


def conflicts(node):
    """Count transactions that have failed for another node's."""
    names = "'wsrep_local_cert_failures', 'wsrep_local_bf_aborts'"
    found = node.execute(f"SHOW STATUS WHERE Variable_name IN ({names})")
    return sum(int(str(count)) for _, count in found)


class OneCell(Region):
    cell_names = ("cell1",)


@pytest.fixture
def agents(cluster, rabbit_a, tmp_path):
    """A region in the cluster, whose two hosts use two of its nodes."""
    one, two, _ = cluster
    region = OneCell("RegionOne", rabbit_a, one, tmp_path, durable=True)
    region.configure()
    region.glance.declare()
    twin = second_host(region)
    text = twin.config_file.read_text()
    twin.config_file.write_text(text.replace(f":{one.port}/", f":{two.port}/"))
    with running(region, twin):
        for host in (region, twin):
            host.await_log("listening on", 60)
        yield region, twin


@pytest.mark.timeout(3600 if LONG else 600)
def test_nodes_go_and_come_back_and_nothing_is_lost_or_doubled(
    cluster, agents
):
    glance, images = agents[0].glance, set()
    for n in range(KILLED):
        node, (way, told) = cluster[n % 3], WAYS[n % 2]
        since = len(node.log.read_text())
        with Load(glance, 0.01) as load:
            load.await_more(IMAGES // KILLED // 2, 120)
            way(node)
            load.await_more(IMAGES // KILLED // 2, 120)
            node.start()
        assert told in node.log.read_text()[since:]
        # Some are delivered twice.
        again = load.confirmed[::10]
        glance.send((INFO, create_envelope(image)) for image in again)
        images |= set(load.confirmed)

    names = [
        sa.make_url(url).database
        for url in (agents[0].ledger, *agents[0].cells.values())
    ]
    for node in cluster:
        host = Host(node, *names)
        wait_until(lambda one=host: len(rows(one)) >= len(images), 120)
        assert in_order(host) == images
        assert rows(host) == {SCHEME.derive(i): i for i in images}
        with host.engines[1].begin() as connection:
            made = connection.execute(
                sa.insert(schemas.S3_IMAGES).values(uuid="of Nova")
            )
            assert made.inserted_primary_key.id in ON_DEMAND
        host.close()
    for agent in agents:
        assert "does not answer" in agent.log()
        assert "Traceback" not in agent.log()


def in_order(host):
    """Give what is claimed, in revisions without gaps, in their order."""
    c = tables.claims.c
    with host.engines[0].connect() as connection:
        found = connection.execute(
            sa.select(c.own_revision, c.claimed_at, c.image).order_by(
                c.own_revision, c.claimed_at
            )
        ).all()
    head = host.ledger.head()
    assert {row.own_revision for row in found} == {
        *range(1, head.revision + 1)
    }
    stamps = [row.claimed_at for row in found]
    assert stamps == sorted(set(stamps))
    images = {row.image for row in found}
    assert head.total == print_of(host.ledger.claims(images).values())
    return images


def rows(host):
    """Give what the cell holds but for what Nova has made."""
    table = schemas.S3_IMAGES.c
    with host.engines[1].connect() as connection:
        found = connection.execute(
            sa.select(table.id, table.uuid).where(table.id < ON_DEMAND.first)
        )
        return dict(map(tuple, found))
