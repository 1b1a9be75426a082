"""Every class of row that a cell may hold, in every database."""

import json

import pytest
import schemas
import sqlalchemy as sa
from commands import SmallRegion
from small_cell import image, see

from ec2map_sync.rules.ec2id import format_id
from ec2map_sync.sinks.audit import Sweep
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

TABLE = schemas.S3_IMAGES
ON_DEMAND = 2**30
KNOWN = range(1, 8)
"""Images that are claimed; 8 and 9 are not."""

LATE = (ON_DEMAND + 7, image(7))
"""What Nova adds after our rows are there."""


class Cell:
    """A cell with rows of every class, and the region that writes there."""

    def __init__(self, region):
        self.region = region
        self.engine = create_engine(parse_url(region.cell, "cell1"))
        self.sink = NovaSink("cell1", self.engine)
        self.taken = (region.scheme.derive(image(5)), image(9))
        self.before = {
            (5, image(1)),  # legacy
            (6, image(2)),  # legacy, soft-deleted
            (7, image(3)),  # the same image twice
            (8, image(3)),
            (ON_DEMAND + 3, image(4)),
            self.taken,
            (2**24 + 5, image(6)),  # foreign, of a known image
            (2**24 + 6, image(8)),  # and of an unknown one
            (2**31 - 1, image(6)),  # the last one that Nova can make
        }
        for number, uuid in sorted(self.before):
            self.put(number, uuid, deleted=number if number == 6 else 0)
        see(region.ledger, *KNOWN)

    def put(self, number, uuid, deleted=0):
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(TABLE).values(id=number, uuid=uuid, deleted=deleted)
            )

    def settled(self, n):
        return (self.region.scheme.derive(image(n)), image(n))

    def rows(self):
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(TABLE.c.id, TABLE.c.uuid))
            return {(row.id, row.uuid) for row in found}

    def nova_answers(self, n):
        """Ask as Nova does: the first row, in no order."""
        query = sa.select(TABLE.c.id).where(TABLE.c.uuid == image(n)).limit(1)
        with self.engine.connect() as connection:
            return connection.scalar(query)

    def work(self, *, rewrite=False):
        """Let the agent fill the cell, and audit it."""
        writer = Writer(self.region.ledger, self.sink, rewrite=rewrite)
        while writer.step():
            pass
        sweep = Sweep(self.region.ledger, self.sink, writer)
        while not sweep.complete:
            sweep.step()
        return sweep.tally

    def listed(self):
        done = self.region.run("divergence", "list", "-f", "json")
        return json.loads(done.stdout)


@pytest.fixture
def cell(database, tmp_path):
    directory = tmp_path / "region"
    directory.mkdir()
    region = SmallRegion(directory, database)
    region.configure(peers="")
    cell = Cell(region)
    yield cell
    cell.engine.dispose()


CLASSES = {
    (5, "legacy"),
    (6, "legacy"),
    (7, "legacy"),
    (8, "legacy"),
    (ON_DEMAND + 3, "on-demand"),
    (ON_DEMAND + 7, "on-demand"),
    (2**31 - 1, "on-demand"),
    (2**24 + 5, "foreign"),
    (2**24 + 6, "foreign"),
}


def test_all_rows_are_kept_and_listed_with_what_a_guest_sees(cell):
    cell.work()
    cell.put(*LATE)

    for _ in range(2):  # a second audit changes nothing
        cell.work()
        ours = {cell.settled(n) for n in KNOWN if n != 5}
        assert cell.rows() == cell.before | ours | {LATE}
        found = cell.listed()
        assert {(one["found"], one["class"]) for one in found} == {
            (format_id(number), name)
            for number, name in CLASSES | {(cell.taken[0], "taken")}
        }
        for one in found:
            n = int(one["image"][-2:], 16)
            seen = cell.nova_answers(n)
            assert one["guest_sees"] == format_id(seen), one
            known = n in KNOWN
            settled = format_id(cell.settled(n)[0]) if known else None
            assert one["settled"] == settled

    # A row that came after ours shows to guests only where it is lower.
    assert cell.nova_answers(7) == cell.settled(7)[0]


def test_explain_tells_what_nova_answers(cell):
    cell.work()
    cell.put(*LATE)

    for n in KNOWN:
        said = cell.region.run("explain", image(n)).stdout
        seen = cell.nova_answers(n)
        answer = f"sees {format_id(seen)}" if seen else "no row"
        assert answer in said


def test_rewriting_leaves_only_what_is_settled(cell):
    cell.work()
    settled = {cell.settled(n) for n in KNOWN}
    unknown = (2**24 + 6, image(8))

    done = cell.region.run("divergence", "resolve", "rewrite", "--all")

    assert cell.rows() == settled | {unknown}
    assert f"row {unknown[0]} stays: nothing is settled" in done.stderr
    (left,) = cell.listed()
    assert left["image"] == image(8)
    assert cell.work().missing == 0
    assert [one["image"] for one in cell.listed()] == [image(8)]


def test_who_configures_to_rewrite_need_not_resolve(cell):
    cell.work()
    cell.region.run("divergence", "resolve", "keep", image(3))

    for _ in range(2):
        cell.work(rewrite=True)

        assert cell.rows() == {
            *(cell.settled(n) for n in KNOWN),
            (7, image(3)),
            (8, image(3)),
            (2**24 + 6, image(8)),
        }
    kept = ["legacy, kept", "legacy, kept", "foreign"]
    assert [one["class"] for one in cell.listed()] == kept


def test_adopting_makes_legacy_rows_the_settled_ones(cell):
    cell.work()
    report = {"adopt": 3, "has another": 1, "on demand": 2}

    def adopt(*arguments):
        done = cell.region.run("adopt", *arguments, "-f", "json")
        return {one["class"]: one["count"] for one in json.loads(done.stdout)}

    assert adopt("--dry-run") == report
    assert adopt() == report
    again = {"adopted": 3, "has another": 1, "on demand": 2}
    assert adopt() == again

    # Our own rows of these images have gone; Nova's are as they were.
    cell.work()
    ours = {cell.settled(n) for n in (4, 6, 7)}
    assert cell.rows() == cell.before | ours
    for n, number in ((1, 5), (2, 6), (3, 7)):
        assert cell.nova_answers(n) == number
        shown = cell.region.run("show", image(n), "-f", "json").stdout
        assert json.loads(shown)["number"] == number
    classes = [
        one["class"] for one in cell.listed() if one["image"] < image(4)
    ]
    assert classes == ["legacy"]  # the second row of image 3
