"""Revisions are without gaps and in the order of the commits."""

import multiprocessing
from itertools import count

import pytest
import sqlalchemy as sa
from patience import within

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.claims import Claim, Sighting
from ec2map_sync.rules.ec2id import Band, Scheme
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

# Small, so that images collide and numbers are passed on.
SCHEME = Scheme(b"test", Band(1000, 3000))
WRITERS = 4
BATCHES = 60
SIZE = 5
FAR = 10**15

# The children do nothing but write; no thread or connection is shared.
fork = multiprocessing.get_context("fork")


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


def open_ledger(url):
    engine = create_engine(parse_url(url, "test"))
    return engine, Ledger(engine, SCHEME)


def write(url, writer, results):
    """See and record by turns; each image is written by two writers."""
    engine, ledger = open_ledger(url)
    revisions = []
    for batch in range(BATCHES):
        first = (batch * WRITERS + writer // 2 * 2) * SIZE
        images = [image(first + n) for n in range(SIZE)]
        if (batch + writer) % 2:
            done = ledger.see([Sighting(image=i, uuid=i) for i in images])
        else:
            done = ledger.record(
                Claim(claimed_at=FAR - first - writer, image=i) for i in images
            )
        revisions.append(done.revision)
    engine.dispose()
    results.put([r for r in revisions if r is not None])


@pytest.fixture(params=["mariadb", "postgresql"])
def url(request, tmp_path):
    server = request.getfixturevalue(request.param)
    url = server.create_database(f"revisions_{tmp_path.name}"[:60])
    engine, _ = open_ledger(url)
    schema.upgrade(engine)
    engine.dispose()
    return url


def test_four_processes_write_and_a_reader_misses_nothing(url):
    results = fork.Queue()
    writers = [
        fork.Process(target=write, args=(url, n, results), daemon=True)
        for n in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    engine, ledger = open_ledger(url)
    seen = {}  # each number, and up to which revision it was read last
    reads = count()

    def read():
        """Take the next part of the feed, as a service does."""
        with ledger.cursors.reader("test") as reader:
            at = reader.revision
            upto, _ = reader.numbers(50)
            changed = reader.changed(upto)
            seen.update((held.number, upto) for held in changed)
            reader.advance(upto)
        next(reads)
        return upto > at

    while any(writer.is_alive() for writer in writers):
        read()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    revisions = [r for _ in writers for r in results.get(timeout=within(10))]
    while read():
        pass

    assert next(reads) > 20  # it did read meanwhile
    head = ledger.head()
    assert sorted(revisions) == list(range(1, head.revision + 1))
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT number, revision FROM numbers")
        )
        late = [r for r in rows if seen.get(r.number, 0) < r.revision]
    engine.dispose()
    assert late == []
