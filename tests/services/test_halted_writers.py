"""Writers that are killed or stopped half way, in each kind of server."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import halted_writer
import pytest
import schemas
import sqlalchemy as sa
from halted_writer import SCHEME
from impatience import impatience
from patience import wait_until, within
from servers import MariaDB

from ec2map_sync.ledger import Ledger, schema
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.ec2id import ON_DEMAND
from ec2map_sync.sinks import lock
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

TABLE = schemas.S3_IMAGES
EMPTY = "DELETE FROM s3_images .* AND"  # not that of the lock
FILL = r"INSERT INTO s3_images \(id, uuid, created_at"
ADVANCE = "UPDATE cursors"
SECONDS = 30


def image(n):
    return f"00000000-0000-4000-8000-{n:012x}"


RIVALS = [image(n) for n in range(900) if SCHEME.derive(image(n)) == 100][:3]
"""Images that all wish for number 100."""

NOVAS = {(5, "legacy")}


class Region:
    """A ledger and a cell, in two databases of one server."""

    def __init__(self, server):
        self.server = server
        self.urls = [
            server.create_database(f"{name}_{uuid4().hex[:8]}")
            for name in ("ledger", "cell")
        ]
        self.engines = [create_engine(parse_url(u, "x")) for u in self.urls]
        schema.upgrade(self.engines[0])
        self.ledger = Ledger(self.engines[0], SCHEME)
        self.cell = self.engines[1]
        schemas.create(self.cell, TABLE)
        sink = NovaSink("cell1", self.cell)
        self.writer = Writer(self.ledger, sink, rewrite=False)
        for number, uuid in NOVAS:
            self.boot(uuid, number)
        self.processes = []

    def claim(self, rival):
        """Claim a rival, each earlier than those before."""
        at = 100 - rival
        self.ledger.record([Claim(claimed_at=at, image=RIVALS[rival])])

    def boot(self, uuid, number=None):
        """Let Nova make a row."""
        values = {"uuid": uuid} | ({"id": number} if number else {})
        with self.cell.begin() as connection:
            made = connection.execute(sa.insert(TABLE).values(values))
            return made.inserted_primary_key.id, uuid

    def rows(self):
        with self.cell.connect() as connection:
            found = connection.execute(sa.select(TABLE.c.id, TABLE.c.uuid))
            return {(row.id, row.uuid) for row in found}

    def settled(self):
        numbers = self.ledger.numbers_of(RIVALS)
        return {(number, uuid) for uuid, number in numbers.items()}

    def start(self, signal_name, beginning):
        """Start a Writer that halts itself."""
        script = Path(halted_writer.__file__)
        process = subprocess.Popen(
            [sys.executable, script, *self.urls, signal_name, beginning],
            env=os.environ | {"PYTHONPATH": str(script.parent)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def cut_off(self):
        """Let the server end all connections but this one."""
        names = ", ".join(
            f"'{sa.make_url(url).database}'" for url in self.urls
        )
        if isinstance(self.server, MariaDB):
            for (thread,) in self.server.execute(
                "SELECT id FROM information_schema.processlist "
                f"WHERE db IN ({names})"
            ):
                self.server.execute(f"KILL {thread}")
        else:
            self.server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname IN ({names})"
            )

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait(within(SECONDS))
            process.stderr.close()
        for engine in self.engines:
            engine.dispose()


@pytest.fixture(params=["mariadb", "postgresql"])
def region(request):
    """A region whose cell has the first rival, and waits for the second."""
    region = Region(request.getfixturevalue(request.param))
    region.claim(0)
    region.writer.step()
    assert region.rows() == {(100, RIVALS[0]), *NOVAS}
    region.claim(1)
    yield region
    region.close()


def await_stopped(process):
    def stopped():
        assert process.poll() is None, process.stderr.read()
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    wait_until(stopped, SECONDS)


def step(region):
    """Write as soon as the server has noticed who is dead."""

    def done():
        region.writer.step()
        return region.writer.caught_up

    wait_until(done, SECONDS)


@pytest.mark.parametrize("where", [EMPTY, FILL])
def test_killed_in_an_exchange_of_numbers_a_writer_leaves_all_as_it_was(
    region, where
):
    before = region.rows()

    killed = region.start("SIGKILL", where)

    assert killed.wait(within(SECONDS)) == -signal.SIGKILL
    assert region.rows() == before
    step(region)
    assert region.rows() == region.settled() | NOVAS
    assert (100, RIVALS[1]) in region.rows()


def test_killed_before_it_notes_what_it_has_done_a_writer_does_it_again(
    region,
):
    killed = region.start("SIGKILL", ADVANCE)

    assert killed.wait(within(SECONDS)) == -signal.SIGKILL
    assert region.rows() == region.settled() | NOVAS
    step(region)
    assert region.rows() == region.settled() | NOVAS


def test_while_a_writer_is_stopped_nobody_else_writes_and_nova_does(region):
    before = region.rows()
    stopped = region.start("SIGSTOP", EMPTY)
    await_stopped(stopped)

    region.claim(2)
    for attempt in (region.writer.step, lambda: region.writer.write([100])):
        with impatience(region.cell), pytest.raises(lock.Busy):
            attempt()
    assert not region.writer.caught_up
    nova = region.boot("meanwhile")
    assert nova[0] in ON_DEMAND
    assert region.rows() == before | {nova}

    stopped.send_signal(signal.SIGCONT)
    assert stopped.wait(within(SECONDS)) == 0
    step(region)
    assert region.rows() == region.settled() | NOVAS | {nova}
    assert (100, RIVALS[2]) in region.rows()


def test_a_stopped_writer_that_was_given_up_overwrites_nothing_newer(region):
    stopped = region.start("SIGSTOP", EMPTY)
    await_stopped(stopped)
    region.claim(2)
    for engine in region.engines:
        engine.dispose()
    region.cut_off()
    step(region)
    assert region.rows() == region.settled() | NOVAS

    stopped.send_signal(signal.SIGCONT)

    assert stopped.wait(within(SECONDS)) != 0
    assert region.rows() == region.settled() | NOVAS
    step(region)
    assert region.rows() == region.settled() | NOVAS
    assert (100, RIVALS[2]) in region.rows()


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_after_a_restart_nova_counts_on_above_our_highest_number(region, how):
    highest = {"id": ON_DEMAND.first - 1, "uuid": image(999), "deleted": 0}
    with region.cell.begin() as connection:
        connection.execute(sa.insert(TABLE).values(highest))
    for engine in region.engines:
        engine.dispose()

    if how == "kill":
        region.server.kill()
        region.server.start()
    else:
        region.server.restart()

    first, second = (region.boot(f"after {n}")[0] for n in range(2))
    assert ON_DEMAND.first <= first < second
    step(region)
    assert region.rows() >= region.settled()
