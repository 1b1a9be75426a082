"""Faults of what is kept: queues, ledgers, cells; and poison."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from random import Random

import amqp.exceptions
import kombu
import sqlalchemy as sa
from by_hand import written
from fleet import INFO, S3_IMAGES, Region
from ground import AWAY, Ground, NotDone
from kinds import kind
from one_set import delete_queue, dump, queue_of, restore
from patience import wait_until, within


@kind("queue deleted", 6)
def queue_deleted(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Delete a queue of ours: that of a peer, or that of questions."""
    region = chance.choice(list(ground.stand.regions.values()))
    peers = ground.stand.peers_of(region.name)
    name = chance.choice([queue_of(p) for p in peers] + [f"{BUS}.requests"])
    with ground.alone(f"broker of {region.name}"):
        if not _has_queue(region, name):
            raise NotDone(f"there is no {name}")
        delete_queue(region, name)
    yield f"{name} of {region.name}"


BUS = "ec2map_sync"


def _has_queue(region: Region, name: str) -> bool:
    with kombu.Connection(region.bus_url, connect_timeout=5) as connection:
        try:
            connection.default_channel.queue_declare(name, passive=True)
        except amqp.exceptions.NotFound:
            return False
    return True


GARBAGE = (
    "",
    "no JSON",
    "[]",
    "{}",
    '{"oslo.version": "2.0", "oslo.message": "{"}',
    '{"oslo.version": "2.0", "oslo.message": "[1, 2]"}',
    '{"event_type": "image.create", "payload": null}',
    '{"event_type": "image.create", "payload": {"id": "no uuid"}}',
    '{"event_type": "image.create", "payload": {"id": 7}}',
    '{"event_type": 1, "payload": {}}',
    "[" * 3000,
    '{"payload": "' + "x" * 200_000 + '"}',
    "\x00\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
)


@kind("poison notified", 8)
def poison_notified(
    ground: Ground, chance: Random, _s: float
) -> Iterator[str]:
    """Put what is no notification among Glance's."""
    region = chance.choice(list(ground.stand.regions.values()))
    some = chance.sample(GARBAGE, 4)
    with ground.alone(f"broker of {region.name}"):
        region.glance.send((INFO, body) for body in some)
    yield f"{len(some)} at {region.name}"


@kind("poison at a peer's queue", 6)
def poison_queued(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Put what nobody has signed among a region's messages."""
    region = chance.choice(list(ground.stand.regions.values()))
    peer = chance.choice(ground.stand.peers_of(region.name))
    some = chance.sample(GARBAGE, 4)
    with (
        ground.alone(f"broker of {region.name}"),
        kombu.Connection(
            region.bus_url,
            connect_timeout=5,
            transport_options={"confirm_publish": True},
        ) as connection,
    ):
        connection.connect()
        producer = kombu.Producer(connection.channel())
        for body in some:
            producer.publish(body, routing_key=queue_of(peer))
    yield f"{len(some)} for {peer.name} at {region.name}"


EDITS = (
    "DELETE FROM claims WHERE image = '{image}'",
    "UPDATE claims SET claimed_at = 1 WHERE image = '{image}'",
    "UPDATE claims SET claimed_at = claimed_at + 9 WHERE image = '{image}'",
    "UPDATE claims SET kind = 'xyz' WHERE image = '{image}'",
    "UPDATE claims SET hash = hash + 1 WHERE image = '{image}'",
    "UPDATE claims SET number = 77 WHERE image = '{image}'",
    "UPDATE claims SET number = NULL WHERE image = '{image}'",
    "DELETE FROM numbers WHERE wish_image = '{image}'",
    "UPDATE numbers SET wish_image = NULL WHERE wish_image = '{image}'",
    "UPDATE head SET total_sum = total_sum + 1",
    "UPDATE head SET total_count = total_count - 1",
    "UPDATE head SET last_stamp = 3",
    "DELETE FROM head",
)


@kind("ledger edited", 1.5, settles=120)
def ledger_edited(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Change a row of a ledger behind the agent's back; one in a round."""
    region = chance.choice(list(ground.stand.regions.values()))
    edit = chance.choice(EDITS)
    with ground.alone(f"ledger of {region.name}"):
        found = region.sql("ledger", "SELECT image FROM claims LIMIT 200")
        if not found:
            raise NotDone("the ledger is empty")
        (image,) = chance.choice(found)
        ground.once("ledger changed by hand")
        engine = sa.create_engine(region.ledger, poolclass=sa.NullPool)
        with engine.begin() as session:
            text = written(edit.format(image=image), engine.dialect.name)
            done = session.exec_driver_sql(text)
        ground.edited(region.name)
    if not done.rowcount:
        raise NotDone("no row was changed")
    yield f"{region.name}: {edit.format(image=image)}"


@kind("ledger restored", 0.7, settles=60)
def ledger_restored(
    ground: Ground, chance: Random, _s: float
) -> Iterator[str]:
    """Make a ledger what it was some seconds ago, with no agent there.

    All that it knows has to be known to a peer, or nobody could bring it.
    """
    region = chance.choice(list(ground.stand.regions.values()))
    hosts = ground.stand.hosts_of(region.name)
    locks = [h.name for h in hosts]
    locks += [f"{w} of {region.name}" for w in ("ledger", "database")]
    announcer = ground.announcers[region.name]
    front = ground.stand.fronts[region.name]
    with ground.alone(*locks, seconds=8), ExitStack() as stack:
        ground.once("ledger changed by hand")
        path = ground.backups / f"{region.name}.sql"
        try:
            dump(front, region, path)  # type: ignore[arg-type]
        except subprocess.CalledProcessError as error:
            raise NotDone("its ledger cannot be backed up") from error
        ground.sleep(2)
        stack.callback(announcer.go_on)
        if not announcer.rest(10):
            raise NotDone("its Glance does not rest")
        if not _known_elsewhere(ground, region):
            raise NotDone("it knows what nobody else does")
        for host in hosts:
            host.kill()
        ground.edited(region.name)
        _insist(partial(restore, front, region, path))  # type: ignore[arg-type]
        for host in hosts:
            host.start()
    yield region.name


def _insist(change: Callable[[], None]) -> None:
    """Change what a cluster has, which may not be over its last fault."""

    def is_done() -> bool:
        try:
            change()
        except (subprocess.CalledProcessError, *AWAY):
            return False
        return True

    wait_until(is_done, 30)


def _known_elsewhere(ground: Ground, region: Region) -> bool:
    images = set(ground.announced.of(region.name, time.monotonic()))
    peers = ground.stand.peers_of(region.name)
    until = time.monotonic() + within(5)
    while time.monotonic() < until:
        for peer in peers:
            held = peer.sql("ledger", "SELECT image FROM claims")
            if images <= {str(image) for (image,) in held}:
                return True
        ground.sleep(0.5)
    return False


@kind("cell restored", 1.5, settles=40)
def cell_restored(ground: Ground, chance: Random, _s: float) -> Iterator[str]:
    """Put what a backup had in the place of a cell's table, all at once."""
    region = chance.choice(list(ground.stand.regions.values()))
    cell = chance.choice(list(region.cells))
    with ground.alone(f"{cell} of {region.name}"):
        rows = region.sql(cell, "SELECT count(*) FROM s3_images")
        left = int(str(rows[0][0])) * chance.choice((0, 1, 3)) // 4
        region.sql(cell, "DROP TABLE IF EXISTS backup, lost")
        region.sql(cell, S3_IMAGES.replace("s3_images", "backup"))
        region.sql(
            cell,
            "INSERT INTO backup SELECT * FROM s3_images "
            f"ORDER BY uuid LIMIT {left}",
        )
        ground.edited(region.name)
        region.sql(cell, "RENAME TABLE s3_images TO lost, backup TO s3_images")
    yield f"{cell} of {region.name}, {left} of {rows[0][0]} rows left"
