"""A cell of many rows that are not ours: what it takes to look at them.

EC2MAP_SYNC_TEST_ROWS says how many; the figures on the page "Scale" are those
of 5,000,000.
"""

import os
import re
import time
from pathlib import Path

import pytest
import schemas
from commands import SmallRegion
from patience import within

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.ec2id import ON_DEMAND, Scheme
from ec2map_sync.rules.rows import RowClass
from ec2map_sync.sinks.audit import PAGE, Sweep
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

ROWS = int(os.environ.get("EC2MAP_SYNC_TEST_ROWS", "10000"))
ON_DEMAND_ROWS = ROWS // 50
AT_ONCE = 100_000
SCHEME = Scheme(b"tests")
SOON = 10
"""Seconds that a command may take."""
SPARE = 16 * 2**20
"""Bytes; a row costs 200 while it is looked at."""


def memory():
    """Tell how many bytes this process has now."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


@pytest.fixture(scope="module")
def cell(mariadb):
    """Rows of Nova's: most of before, and some for images unknown to us."""
    engine = create_engine(parse_url(mariadb.create_database("large"), "x"))
    schemas.create(engine, schemas.S3_IMAGES)
    legacy = ROWS - ON_DEMAND_ROWS
    for above, count in ((0, legacy), (ON_DEMAND.first, ON_DEMAND_ROWS)):
        for first in range(1, count + 1, AT_ONCE):
            last = min(count, first + AT_ONCE - 1)
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    "INSERT INTO s3_images (id, uuid) SELECT "
                    f"{above} + seq, uuid() FROM seq_{first}_to_{last}"
                )
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def own(mariadb):
    """The database of the ledger."""
    url = mariadb.create_database("large_ledger")
    engine = create_engine(parse_url(url, "x"))
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.mark.timeout(7200)
def test_memory_is_flat_however_many_rows_a_cell_has(own, cell):
    ledger, sink = Ledger(own, SCHEME), NovaSink("cell1", cell)
    writer = Writer(ledger, sink, rewrite=False)
    sweep = Sweep(ledger, sink, writer)
    sweep.step()
    before, began = memory(), time.monotonic()

    while not sweep.complete:
        sweep.step()

    seconds, grown = time.monotonic() - began, memory() - before
    pages = ROWS // PAGE
    print(f"{ROWS} rows: {seconds:.0f} s, {pages} pages, {grown} bytes more")
    assert grown < SPARE
    assert sweep.tally.rows == ROWS
    assert ledger.head().total.count == ON_DEMAND_ROWS
    while writer.step():
        pass
    sweep.begin()
    while not sweep.complete:
        sweep.step()
    assert sweep.tally.missing == 0
    assert sweep.tally.classes[RowClass.OURS] == ON_DEMAND_ROWS
    assert memory() - before < SPARE


@pytest.mark.timeout(7200)
def test_status_and_checks_do_not_take_longer_for_it(tmp_path, own, cell):
    """Behind the test above, the ledger has images and divergences too."""
    region = SmallRegion(tmp_path)
    text = region.config_file.read_text()
    for name, engine in (("ledger", own), ("cell1", cell)):
        url = engine.url.render_as_string(hide_password=False)
        text = text.replace(region.url(name), url)
    region.config_file.write_text(text)

    # There is no agent, nor a broker.
    asked = {"status": 1, "config check": 1, "divergence list": 0}
    for command, code in asked.items():
        began = time.monotonic()
        done = region.run(*command.split(), code=code)
        seconds = time.monotonic() - began
        print(f"{ROWS} rows: {command} took {seconds:.1f} s")
        assert done.stderr == ""
        assert seconds < within(SOON)
