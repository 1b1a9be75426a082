"""How long after image.create the rows are there, in both regions."""

import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pymysql
import sqlalchemy as sa
from consumers import row_of
from figures import Line, percentile
from fleet import S3_IMAGES, await_reading, running
from patience import wait_until
from stand import CELL, Consumer, Notifier, Size, Stand, bind, cpu

from ec2map_sync.rules.ec2id import Scheme

BLOCKS = 5
WARM = 10
TIMEOUT = 30
SCHEME = Scheme(b"tests")
"""As the tests' regions are configured."""

REST = 3.0
"""Seconds in which nothing is created, to see what everybody needs then."""

Delays = tuple[list[float], list[float]]


class Eye:
    """Looks for a row by primary key until it is there."""

    def __init__(self, url: str, pause: float = 0.0002) -> None:
        parsed = sa.make_url(url)
        self._pause = pause
        self._connection = pymysql.connect(
            host=parsed.host or "",
            port=parsed.port or 0,
            user="root",
            database=parsed.database,
            autocommit=True,
        )

    def await_row(self, number: int) -> float:
        """Give the moment at which it was seen."""
        deadline = time.monotonic() + TIMEOUT
        with self._connection.cursor() as cursor:
            while not cursor.execute(
                f"SELECT 1 FROM s3_images WHERE id = {number}"
            ):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no row {number} in {TIMEOUT} s")
                time.sleep(self._pause)
        return time.monotonic()


class Side:
    """One of the two that are measured: a notifier and two tables."""

    def __init__(
        self,
        notifier: Notifier,
        number: Callable[[str], int],
        own: str,
        peer: str,
        *,
        pids: Sequence[int] = (),
        pause: float = 0.0002,
    ) -> None:
        self.pids = pids
        """Its programs, without the servers."""
        self._notifier = notifier
        self._number = number
        self._eyes = Eye(own, pause), Eye(peer, pause)

    def create(self) -> tuple[float, float]:
        """Create an image; the milliseconds to its own and its peer row."""
        image = str(uuid.uuid4())
        number = self._number(image)
        begun = time.monotonic()
        self._notifier.create(image)
        own, peer = (eye.await_row(number) for eye in self._eyes)
        return (own - begun) * 1000, (peer - begun) * 1000


def measure(stand: Stand, size: Size) -> list[Line]:
    """Create single images on either side, in turns."""
    one, two = stand.pair("Delay")
    one.glance.declare()
    two.glance.declare()
    plain = stand.region("Straight")
    bind(plain, "glance", "notifications.info", "straight", durable=False)
    tables = [stand.mariadb.create_database(f"straight_{i}") for i in (1, 2)]
    for i in (1, 2):
        stand.mariadb.execute(
            S3_IMAGES.replace("s3_images", f"straight_{i}.s3_images")
        )
    common: dict[str, Any] = {
        "url": stand.rabbit.transport_url(plain.vhost),
        "bus": plain.bus_url,
        "pool": "straight",
        "count": 0,
    }
    with ExitStack() as stack:
        straight = [
            stack.enter_context(Consumer(kind, **common, database=table)).pid
            for kind, table in zip(("forward", "accept"), tables, strict=True)
        ]
        stack.enter_context(running(one, two))
        await_reading(two, one)
        await_reading(one, two)
        wait_until(lambda: "listening on" in one.log(), TIMEOUT)
        sides = {
            "straight": Side(
                Notifier(stand.rabbit.transport_url(plain.vhost)),
                lambda image: int(str(row_of(image)["id"])),
                *tables,
                pids=straight,
            ),
            "ours": Side(
                Notifier(stand.rabbit.transport_url(one.vhost)),
                SCHEME.derive,
                one.cells[CELL],
                two.cells[CELL],
                pids=[*one.processes(), *two.processes()],
            ),
        }
        return _alternate(stand, sides, size)


def _alternate(stand: Stand, sides: dict[str, Side], size: Size) -> list[Line]:
    found: dict[str, list[Delays]] = {"ours": [], "straight": []}
    spent: dict[str, list[float]] = {"ours": [], "straight": []}
    for side in sides.values():
        for _ in range(WARM):
            side.create()

    def used(side: Side) -> float:
        return sum(map(cpu, side.pids)) + stand.server_cpu()

    at_rest = {name: -used(side) for name, side in sides.items()}
    time.sleep(REST)
    for name, side in sides.items():
        at_rest[name] = (at_rest[name] + used(side)) / REST
    blocks = min(BLOCKS, size.rounds)
    for _ in range(blocks):
        for name, side in sides.items():
            pairs = []
            begun, before = time.monotonic(), used(side)
            for _ in range(size.creates // blocks):
                time.sleep(random.uniform(0.02, 0.06))
                pairs.append(side.create())
            seconds = time.monotonic() - begun
            worked = used(side) - before - at_rest[name] * seconds
            spent[name].append(worked / len(pairs) * 1000)
            own, peer = zip(*pairs, strict=True)
            found[name].append((list(own), list(peer)))
    stand.say("latency measured")
    return [
        *_lines(found["ours"], found["straight"]),
        Line(
            key="delay cpu",
            what="CPU of all for an image alone, both regions and servers",
            unit="ms",
            ours=spent["ours"],
            beside={"straight line, both commits": spent["straight"]},
        ),
    ]


def _lines(ours: list[Delays], straight: list[Delays]) -> list[Line]:
    lines = []
    floor = [[v for block in straight for v in block[i]] for i in range(2)]
    for i, (where, goal) in enumerate((("own row", 2), ("peer's row", 3))):
        samples = [v for block in ours for v in block[i]]
        key = f"delay {where.split()[0]}"
        for percent in (50, 95, 99):
            lines.append(
                Line(
                    key=key if percent == 50 else f"{key} p{percent}",
                    what=f"idle, create -> {where}, p{percent}",
                    unit="ms",
                    ours=[percentile(b[i], percent) for b in ours]
                    if percent == 50
                    else [percentile(samples, percent)],
                    # The floor is the whole straight line, to the second
                    # commit, for either row.
                    beside={
                        "straight line, both commits": [
                            percentile(b[1], percent) for b in straight
                        ]
                        if percent == 50
                        else [percentile(floor[1], percent)]
                    },
                    goal=f"<= {goal} x" if percent == 50 else "",
                    more={
                        f"sample {where}": samples,
                        f"sample straight {where}": floor[i],
                    }
                    if percent == 50
                    else {},
                )
            )
    return lines
