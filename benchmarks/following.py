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
from stand import CELL, Drained, Progress, Size, Stand, drain, memory, warm

from ec2map_sync import bus, messages, wire
from ec2map_sync.ledger.ledger import wall_clock
from ec2map_sync.signing import SigningKey
from ec2map_sync.sinks.nova import s3_images

BATCH = 500
"""Claims in a message, and rows in a transaction of the one table."""

WRITER = f"nova:{CELL}"
Written = tuple[dict[str, Any], bytes]

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
    outlet = bus.Outlet(sender.bus_url, "ec2map_sync")
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
    """Start a region that knows nothing beside one that knows much."""
    new = stand.region("Fresh")
    old.configure(new)
    new.configure(old)
    with running(old), _memory(old) as there:
        wait_until(lambda: "publisher started" in old.log(), 60)
        begun = time.monotonic()
        with running(new), _memory(new) as here, Progress(new, [WRITER]) as p:
            p.await_done(size.images, 3600)
            seconds = time.monotonic() - begun
    stand.say(f"take-over of {size.images:,}: {seconds:.1f} s")
    per_million = seconds / size.images * 1e6
    return [
        Line(
            key="take-over",
            what=f"a new region takes over {size.images:,} claims",
            unit="s per million",
            ours=[per_million],
            goal="<= 60",
        ),
        Line(
            key="memory",
            what="largest process meanwhile",
            unit="MB",
            ours=[max(max(v) for s in (here, there) for v in s.values())],
            goal="< 200",
            more={
                "memory new region": here,
                "memory old region": there,
            },
        ),
    ]


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
