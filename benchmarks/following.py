"""What a follower takes in, of messages that were prepared."""

import itertools
import time
import uuid
from typing import Any

import sqlalchemy as sa
from figures import Line
from filling import SCHEME, claims, engine_of, now
from fleet import S3_IMAGES, Region
from patience import wait_until
from stand import (
    CELL,
    Drained,
    Progress,
    Size,
    Stand,
    drain,
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
