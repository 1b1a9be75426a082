"""What a follower takes in: prepared messages, and a whole ledger."""

import itertools
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import sqlalchemy as sa
from figures import Line
from filling import SCHEME, claims, engine_of, now
from fleet import S3_IMAGES, Region, running
from servers import wait_until
from stand import (
    CELL,
    Drained,
    Progress,
    Size,
    Stand,
    cpu,
    drain,
    memory,
    warm,
)

from ec2map_sync.broker.address import Address
from ec2map_sync.peers import bus
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sinks.nova import s3_images

BATCH = 500
"""Claims in a message, and rows in a transaction of the one table."""

WRITER = f"nova:{CELL}"
Written = tuple[dict[str, Any], bytes]

TAKE_OVERS = 5
"""Rounds at most: a minute each, with a million claims."""

REST = 0.1
"""Seconds of CPU that an agent without work needs, in a second, at most."""

SAMPLE = 0.5
"""Seconds between two looks at the memory of each process."""


def apply(stand: Stand, size: Size) -> list[Line]:
    """Let a follower empty its queue, and one table be filled, in turns."""
    stand.mariadb.create_database("apply_limit")
    stand.mariadb.execute(
        S3_IMAGES.replace("s3_images", "apply_limit.s3_images")
    )
    limit = engine_of(stand.mariadb.url("apply_limit"))
    one, two = stand.pair("Apply")
    found, rows = [], []
    for turn in range(size.rounds):
        found.append(_drain(stand, one, two, size.claims))
        rows.append(_insert(limit, size.claims))
        stand.say(f"apply {turn + 1}: {found[-1].rate:,.0f}/s")
    return [
        Line(
            key="apply",
            what="a peer's claims into ledger and cell",
            unit="/s",
            ours=[d.rate for d in found],
            beside={"inserts of 500 into one table": rows},
            goal=">= 25,000 or 0.25 x",
            more={"by process": [d.cpu for d in found]},
        )
    ]


def _drain(stand: Stand, sender: Region, reader: Region, n: int) -> Drained:
    outlet = bus.Outlet(Address(sender.bus_url), "ec2map_sync")
    outlet.open()
    first, rest = _written(sender, 1), _written(sender, n)

    def publish(written: list[Written]) -> None:
        for headers, body in written:
            outlet.send("claims", headers, body)

    said = len(reader.log())

    def prime() -> None:
        # Until its follower has declared its queue, nothing is kept for it.
        wait_until(lambda: "reading ec2map_sync." in reader.log(said), 120)
        publish(first)

    with Progress(reader, [WRITER]) as progress:
        total = progress.total() + 1 + n
        with warm(reader, progress, prime):
            found = drain(
                stand, reader, progress, total, lambda: publish(rest)
            )
    outlet.close()
    return found


def _written(sender: Region, count: int) -> list[Written]:
    """Sign messages with new claims, as the sender's Publisher would."""
    pen = wire.Pen(
        region=sender.name,
        scheme=SCHEME.fingerprint,
        key=SigningKey.load(sender.directory / f"{sender.name}.key"),
        clock=wall_clock,
    )
    fresh = claims(count, now() - count, now())
    written = []
    while some := tuple(itertools.islice(fresh, BATCH)):
        written.append(wire.encode(messages.Claims(claims=some), pen))
    return written


def _insert(engine: sa.Engine, count: int) -> float:
    """Fill the one table, in random order of the key; rows per second."""
    rows = [
        {
            "id": SCHEME.derive(image),
            "uuid": image,
            "created_at": None,
            "deleted": 0,
        }
        for image in (str(uuid.uuid4()) for _ in range(count))
    ]
    with engine.begin() as connection:
        connection.execute(sa.delete(s3_images))
    begun = time.monotonic()
    for start in range(0, count, BATCH):
        with engine.begin() as connection:
            connection.execute(
                sa.insert(s3_images).prefix_with("IGNORE"),
                rows[start : start + BATCH],
            )
    return count / (time.monotonic() - begun)


def take_over(stand: Stand, old: Region, size: Size) -> list[Line]:
    """Start regions that know nothing beside one that knows much, in turn."""
    seconds: list[float] = []
    largest: list[float] = []
    for turn in range(min(size.rounds, TAKE_OVERS)):
        new = stand.region(f"Fresh{turn}")
        taken, processes = _taken_over(old, new, size.images)
        seconds.append(taken)
        largest.append(max(v for some in processes.values() for v in some))
        stand.say(f"take-over of {size.images:,}: {taken:.1f} s")
        for url in (new.ledger, *new.cells.values()):
            stand.mariadb.execute(f"DROP DATABASE {sa.make_url(url).database}")
    return [
        Line(
            key="take-over",
            what=f"a new region takes over {size.images:,} claims",
            unit="s per million",
            ours=[taken / size.images * 1e6 for taken in seconds],
            goal="<= 60",
        ),
        Line(
            key="memory",
            what="largest process meanwhile",
            unit="MB",
            ours=largest,
            goal="< 200",
            more={"over time, the last": processes},
        ),
    ]


def _taken_over(
    old: Region, new: Region, images: int
) -> tuple[float, dict[str, list[float]]]:
    """Give the seconds it takes, and the memory of each process meanwhile."""
    # It has been there for long: it does not wait for the new one.
    old.configure(new, extra="\n[bus]\nclaim_wait = 0\n")
    new.configure(old)
    said = len(old.log())
    with running(old), _memory(old) as there:
        wait_until(lambda: "publisher started" in old.log(said), 60)
        _await_rest(old)
        begun = time.monotonic()
        with running(new), _memory(new) as here, Progress(new, [WRITER]) as p:
            p.await_done(images, 3600)
            seconds = time.monotonic() - begun
    regions = {"new": here, "old": there}
    return seconds, {
        f"{service} of the {which} region": seen
        for which, services in regions.items()
        for service, seen in services.items()
    }


def _await_rest(region: Region) -> None:
    """Wait until an agent has looked through its cell, as it does first."""
    seen = [0.0]

    def rests() -> bool:
        before = seen[-1]
        seen.append(sum(map(cpu, region.services().values())))
        time.sleep(1)
        return seen[-1] - before < REST

    wait_until(rests, 120)


@contextmanager
def _memory(region: Region) -> Iterator[dict[str, list[float]]]:
    """Look at the memory of each service from time to time."""
    seen: dict[str, list[float]] = {}
    stop = Event()

    def look() -> None:
        while not stop.wait(SAMPLE):
            for name, pid in region.services().items():
                with suppress(OSError):
                    seen.setdefault(name, []).append(memory(pid))

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
