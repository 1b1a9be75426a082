"""What does not grow with the number of images, and what does."""

import json
import random
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from commands import BIN
from figures import Line
from filling import (
    claims,
    copy,
    engine_of,
    fill,
    ledger_of,
    now,
    write_all,
    writer_of,
)
from fleet import Region
from stand import CELL, Size, Stand, in_turns

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.roots import Roots
from ec2map_sync.peers import compare
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import (
    EVERYTHING,
    Bound,
    Sighting,
    Span,
)
from ec2map_sync.rules.ec2id import DERIVED, Kind
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sinks.nova import s3_images
from ec2map_sync.sql.statements import insert, select_in

SMALL = 1000
MINUTE = 600
"""Claims between two notes: ten a second."""
BATCH = 500
DIFFERENT = 1000
HOUR = 3600 * 1_000_000
ALL_TIME = int(0.9 * 365 * 24 * HOUR)
"""Microseconds: a little less than the year that the ledger has."""

TAIL = 3_000_000
"""Microseconds: as far as heartbeats stay behind."""


def large_region(stand: Stand, size: Size) -> Region:
    """Make the region that holds all the images."""
    region = stand.region("Large")
    region.configure()
    begun = time.monotonic()
    fill(stand, region, size.images)
    stand.say(
        f"{size.images:,} images recorded in {time.monotonic() - begun:.0f} s"
    )
    return region


def batches(stand: Stand, large: Region, size: Size) -> list[Line]:
    """Record and write the same batch beside few images and beside many."""
    small = stand.region("Small")
    small.configure()
    fill(stand, small, SMALL)
    regions = (("small", small), ("large", large))
    steps = {name: _Batches(region) for name, region in regions}
    tables = {name: _OneTable(stand, region) for name, region in regions}
    for name, step in steps.items():
        step.run()  # connect, compile
        step.times.clear()
        step.statements.clear()
        tables[name].run()
        tables[name].times.clear()
    for turn in range(max(size.rounds, 1) * 2):
        for name in in_turns(steps, turn):
            steps[name].run()
            tables[name].run()
    return [
        Line(
            key="batch",
            what=f"500 images, ledger and cell, beside {size.images:,}",
            unit="ms",
            ours=steps["large"].times,
            beside={f"beside {SMALL:,}": steps["small"].times},
            goal="<= 1.2 x",
        ),
        Line(
            key="batch limit",
            what=f"500 rows of one table, beside {size.images:,}",
            unit="ms",
            ours=tables["large"].times,
            beside={f"beside {SMALL:,}": tables["small"].times},
        ),
        Line(
            key="statements",
            what="statements for that, where no two wish for one number",
            unit="",
            ours=[min(steps["large"].statements)],
            beside={f"beside {SMALL:,}": [min(steps["small"].statements)]},
            goal="the same",
        ),
    ]


class _Batches:
    """Batches of new images into one region."""

    def __init__(self, region: Region) -> None:
        self.times: list[float] = []
        self.statements: list[int] = []
        self._ledger = ledger_of(region)
        self._writer = writer_of(region)

    def run(self) -> None:
        """Record and write one batch."""
        images = [str(uuid.uuid4()) for _ in range(BATCH)]
        sightings = [
            Sighting(image=image, uuid=image, kind=Kind.AMI)
            for image in images
        ]
        with _statements() as count:
            begun = time.monotonic()
            self._ledger.see(sightings)
            write_all(self._writer)
            self.times.append((time.monotonic() - begun) * 1000)
        self.statements.append(count[0])


class _OneTable:
    """Batches of rows into one table like a region's cell, and no more."""

    def __init__(self, stand: Stand, region: Region) -> None:
        self.times: list[float] = []
        cell = sa.make_url(region.cells[CELL]).database
        self._engine = engine_of(stand.mariadb.create_database(f"{cell}_only"))
        table, source = f"{cell}_only.s3_images", f"{cell}.s3_images"
        stand.mariadb.execute(f"CREATE TABLE {table} LIKE {source}")
        stand.mariadb.execute(f"INSERT INTO {table} SELECT * FROM {source}")

    def run(self) -> None:
        """Insert and commit one batch."""
        columns = [s3_images.c.id, s3_images.c.uuid, s3_images.c.deleted]
        drawn = set(random.sample(range(DERIVED.first, DERIVED.stop), BATCH))
        with self._engine.begin() as connection:
            found = select_in(
                connection, sa.select(columns[0]), columns[0], drawn
            )
            drawn -= {row.id for row in found}
        rows = [(number, str(uuid.uuid4()), 0) for number in sorted(drawn)]
        begun = time.monotonic()
        with self._engine.begin() as connection:
            insert(connection, columns, rows)
        self.times.append((time.monotonic() - begun) * 1000)


@contextmanager
def _statements() -> Iterator[list[int]]:
    """Count the statements of all engines."""
    count = [0]

    def note(*_arguments: object) -> None:
        count[0] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield count
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def prints(large: Region, size: Size) -> list[Line]:
    """Take the prints that heartbeats and compares need."""
    ledger = ledger_of(large)
    rounds = max(size.rounds, 3)
    beats = _times(lambda: ledger.print_before(now() - TAIL), rounds * 4)
    start = ledger.page(EVERYTHING, 2)[-1].bound
    whole = Span(start, Bound(now() + HOUR))
    sums = _times(lambda: ledger.print_of(whole), rounds)
    return [
        Line(
            key="heartbeat",
            what=f"print for a heartbeat at {size.images:,}",
            unit="ms",
            ours=beats,
            goal="<= 5",
        ),
        Line(
            key="range print",
            what="print of nearly all claims by the index",
            unit="ms",
            ours=sums,
        ),
    ]


def notes(large: Region, size: Size) -> list[Line]:
    """Make a note from nothing, and the ones that follow each minute."""
    ledger = ledger_of(large)
    cold, following = [], []
    for _ in range(size.rounds):
        kept = Roots()
        cold.append(_cpu(partial(_terms, ledger, kept)) / 1000)
        for _ in range(3):
            ledger.record(claims(MINUTE, now() - TAIL, now()))
            following.append(_cpu(partial(_terms, ledger, kept)))
    write_all(writer_of(large))
    return [
        Line(
            key="note",
            what=f"CPU of a note's roots, {size.images:,} images",
            unit="s",
            ours=cold,
            goal="<= 3 for 1,000,000",
        ),
        Line(
            key="next note",
            what=f"CPU of the next note's, after {MINUTE:,} claims",
            unit="ms",
            ours=following,
            goal="<= 50",
        ),
    ]


def _terms(ledger: Ledger, kept: Roots) -> None:
    with ledger.snapshot() as snapshot:
        kept.terms(snapshot, now())


def _cpu(work: Callable[[], object]) -> float:
    """Give the milliseconds for which this process has worked."""
    begun = time.process_time()
    work()
    return (time.process_time() - begun) * 1000


def _times(work: Callable[[], object], rounds: int) -> list[float]:
    """Do something some times; milliseconds, after a first time."""
    work()
    found = []
    for _ in range(rounds):
        begun = time.monotonic()
        work()
        found.append((time.monotonic() - begun) * 1000)
    return found


def verify(large: Region, size: Size) -> list[Line]:
    """Run ``ec2map-sync verify --sinks``, beside reading the same rows."""
    command: list[str | Path] = [
        BIN / "ec2map-sync",
        "verify",
        "--sinks",
        "-f",
        "json",
        "--config-file",
        large.config_file,
    ]
    cell = engine_of(large.cells[CELL])

    def read() -> None:
        with cell.connect() as connection:
            connection.exec_driver_sql(
                "SELECT id, uuid FROM s3_images"
            ).fetchall()

    ours, reads = [], []
    for _ in range(size.rounds):
        begun = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, check=True
        )
        ours.append(time.monotonic() - begun)
        (verdict,) = json.loads(done.stdout)
        assert verdict["checked"] >= size.images, verdict
        reads.append(_times(read, 1)[0] / 1000)
    return [
        Line(
            key="verify",
            what=f"verify --sinks, {size.images:,} images",
            unit="s",
            ours=ours,
            beside={"reading the cell once": reads},
            goal="<= 20 for 1,000,000",
        )
    ]


def differing(stand: Stand, large: Region, size: Size) -> list[Line]:
    """Let two ledgers find what one of them lacks."""
    other = stand.region("Other")
    other.configure()
    copy(stand, large, other)
    mine, theirs = ledger_of(other), ledger_of(large)
    lines = []
    for key, what, span, goal in (
        ("hour", "made in one hour", HOUR, "<= 2 s, 1.5 x bytes"),
        ("all time", "of all time", ALL_TIME, "<= 5 s, 1.5 x bytes"),
    ):
        found = [_differ(mine, theirs, span) for _ in range(size.rounds)]
        stand.say(f"compare, {what}: {found[-1].seconds:.2f} s")
        lines.append(
            Line(
                key=f"compare {key}",
                what=f"1,000 of {size.images:,} differ, {what}",
                unit="s",
                ours=[d.seconds for d in found],
                goal=goal,
                more={
                    "bytes / the claims' own": [d.ratio for d in found],
                    "questions": [d.questions for d in found],
                },
            )
        )
    return lines


@dataclass(frozen=True, kw_only=True)
class _Difference:
    """What finding a difference has cost."""

    seconds: float
    questions: int
    ratio: float
    """Bytes, to those of the claims that differ, deflated."""


def _differ(mine: Ledger, theirs: Ledger, span: int) -> _Difference:
    """Let one have new claims, and the other find them."""
    # Each time in another hour: in the same one, there are ever more.
    ago = span + random.randrange(ALL_TIME + HOUR - span)
    start = now() - TAIL - ago
    news = list(claims(DIFFERENT, start, start + span))
    theirs.record(news)
    begun = time.monotonic()
    questions, size_in_bytes = _exchange(mine, theirs)
    seconds = time.monotonic() - begun
    assert mine.head().total == theirs.head().total
    own = len(_encoded(messages.Claims(claims=tuple(news)), wire.DEFLATED))
    return _Difference(
        seconds=seconds, questions=questions, ratio=size_in_bytes / own
    )


def _exchange(mine: Ledger, theirs: Ledger) -> tuple[int, int]:
    """Pull what is missing; the questions asked and all bytes."""
    asked: list[messages.Compare] = []
    questions = size = 0
    pull = compare.Pull(
        mine, asked.append, span=EVERYTHING, monotonic=time.monotonic
    )
    pull.step()
    while asked:
        question = asked.pop()
        reply = compare.answer(theirs, question)
        size += len(_encoded(question, question.version))
        size += len(_encoded(reply, question.reads))
        questions += 1
        pull.take(reply)
        mine.record(reply.claims)
    return questions, size


def _encoded(message: messages.Message, reads: int) -> bytes:
    pen = wire.Pen(region="x", scheme="x", key=None, clock=wall_clock)
    return wire.encode(message, pen, reads)[1]
