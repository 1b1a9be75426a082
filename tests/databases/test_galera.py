"""A ledger and a cell in a Galera cluster; two hosts use different nodes.

With EC2MAP_SYNC_TEST_GALERA=long, ten times as many notifications, and more
nodes that go and come back.
"""

import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import schemas
import sqlalchemy as sa
from patience import POLL_SECONDS, wait_until, within
from servers import Galera

from ec2map_sync.ledger import Ledger, schema, tables
from ec2map_sync.rules.claims import Claim, Sighting, print_of
from ec2map_sync.rules.ec2id import ON_DEMAND, Scheme
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url
from ec2map_sync.sql.statements import batched

pytestmark = pytest.mark.services

LONG = os.environ.get("EC2MAP_SYNC_TEST_GALERA") == "long"
IMAGES = 10_000 if LONG else 1_000
ROUNDS = 10 if LONG else 3
AT_ONCE = 4
ENDED = threading.Event()
ENDED.set()
SCHEME = Scheme(b"x")


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
    """A host of the region: what it does, on the node that it uses."""

    def __init__(self, node, ledger, cell):
        self.engines = [
            create_engine(parse_url(node.url(name), "x"), patience=20)
            for name in (ledger, cell)
        ]
        self.ledger = Ledger(self.engines[0], SCHEME)
        sink = NovaSink("cell1", self.engines[1])
        self.writer = Writer(self.ledger, sink, rewrite=False)
        self.errors = []

    def patiently(self, work):
        """Try until it is done, as every loop of the agent does."""
        deadline = time.monotonic() + within(120)
        while True:
            try:
                return work()
            except sa.exc.SQLAlchemyError as error:
                if time.monotonic() > deadline:
                    raise
                self.errors.append(error)
            time.sleep(POLL_SECONDS)

    def listen(self, images):
        for some in batched(images, AT_ONCE):
            seen = [Sighting(image=one, uuid=one) for one in some]
            self.patiently(lambda seen=seen: self.ledger.see(seen))

    def write(self, ended):
        while True:
            last = ended.is_set()
            while self.patiently(self.writer.step):
                pass
            if last:
                return
            ended.wait(POLL_SECONDS)

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


def leave_in_order(node):
    """What it lacks then it gets from another's cache (IST)."""
    node.stop()


def crash(node):
    node.kill()


def lose_its_disk(node):
    """It gets everything anew (SST)."""
    node.kill()
    node.forget()


WAYS = (leave_in_order, crash, lose_its_disk)


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
    hosts[0].write(ended=ENDED)
    assert in_order(hosts[1]) == set(images)
    assert rows(hosts[1]) == {SCHEME.derive(i): i for i in images}


def conflicts(node):
    """Count transactions that have failed for another node's."""
    names = "'wsrep_local_cert_failures', 'wsrep_local_bf_aborts'"
    found = node.execute(f"SHOW STATUS WHERE Variable_name IN ({names})")
    return sum(int(str(count)) for _, count in found)


@pytest.mark.timeout(3600 if LONG else 600)
def test_nodes_go_and_come_back_and_nothing_is_lost_or_doubled(cluster, hosts):
    images: list[str] = []
    ended = threading.Event()
    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(host.write, ended) for host in hosts]
        try:
            for n in range(ROUNDS):
                before = len(images)
                new = [str(uuid4()) for _ in range(IMAGES // ROUNDS)]
                images += new
                work = threads.submit(share, hosts, new)
                wait_until(lambda more=before: knows(hosts, more), 60)
                node = cluster[(n + 1) % len(cluster)]
                WAYS[n % len(WAYS)](node)
                node.start()
                work.result(within(120))
        finally:
            ended.set()
        for one in writing:
            one.result(within(120))

    for host in hosts:
        assert host.errors  # its node was gone for a while
        assert in_order(host) == set(images)
        assert rows(host) == {SCHEME.derive(i): i for i in images}
        with host.engines[1].begin() as connection:
            made = connection.execute(
                sa.insert(schemas.S3_IMAGES).values(uuid="of Nova")
            )
            assert made.inserted_primary_key.id in ON_DEMAND


def share(hosts, images):
    """Let both listen; a tenth comes to both, as if delivered again."""
    half, tenth = len(images) // 2, len(images) // 10
    parts = images[: half + tenth], images[half:]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(Host.listen, hosts, parts))


def knows(hosts, more):
    """Tell whether more are claimed than so many."""
    return known_to(hosts[0]) > more


def known_to(host):
    return host.patiently(lambda: host.ledger.head().total.count)


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
