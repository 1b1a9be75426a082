"""What tests of the one set need: ledgers, restored ones, second hosts."""

import subprocess
from collections.abc import Callable
from copy import copy
from itertools import count
from pathlib import Path
from uuid import uuid4

import kombu
import sqlalchemy as sa
from fleet import Region
from patience import wait_until, within
from proxy import Proxy
from servers import MariaDB, find_program

from ec2map_sync.ledger import PUBLISHING, Ledger
from ec2map_sync.rules.claims import Print, Sighting, Stamp
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.rules.stamps import wall_clock

SCHEME = Scheme(b"tests")
"""That of the fleet's configuration."""

HEARTBEAT = 4
"""Seconds, instead of 20: AMQP's, on links that go through a proxy."""

BATCH = 500


def open_ledger(
    region: Region, clock: Callable[[], Stamp] = wall_clock
) -> Ledger:
    """Open a region's ledger; no connection is kept."""
    engine = sa.create_engine(
        region.ledger,
        poolclass=sa.NullPool,
        isolation_level="READ COMMITTED",
    )
    return Ledger(engine, SCHEME, clock)


def claim_many(ledger: Ledger, number: int) -> set[str]:
    """Claim so many new images, as notifications of them would."""
    images = [str(uuid4()) for _ in range(number)]
    for start in range(0, number, BATCH):
        some = images[start : start + BATCH]
        ledger.see([Sighting(image=i, uuid=i, kind=Kind.AMI) for i in some])
    return set(images)


def colliding() -> tuple[str, str]:
    """Find two images that wish for the same number first."""
    seen: dict[int, str] = {}
    for _ in count():
        image = str(uuid4())
        other = seen.setdefault(SCHEME.derive(image), image)
        if other != image:
            return other, image
    raise AssertionError


def via(peer: Region, proxy: Proxy) -> Region:
    """Give a peer as it is to be reached: through a proxy."""
    behind = copy(peer)
    behind.bus_url = proxy.url(peer.bus_url, heartbeat=HEARTBEAT)
    return behind


def second_host(region: Region) -> Region:
    """Give another host of a region: the same, with a state of its own."""
    twin = copy(region)
    twin.agent = None
    twin.log_file = region.directory / f"{region.name}-second.log"
    twin.config_file = region.directory / f"{region.name}-second.conf"
    state = region.directory / "second"
    state.mkdir()
    text = region.config_file.read_text()
    here = f"state_path = {region.directory}\n"
    assert here in text
    twin.config_file.write_text(text.replace(here, f"state_path = {state}\n"))
    return twin


def await_equal(*regions: Region, count: int, seconds: float) -> Print:
    """Wait until all ledgers hold the same claims, so many at least."""
    ledgers = [open_ledger(region) for region in regions]

    def totals() -> list[Print]:
        return [ledger.head().total for ledger in ledgers]

    def equal() -> bool:
        found = totals()
        return found[0].count >= count and len(set(found)) == 1

    try:
        wait_until(equal, seconds)
    except TimeoutError:
        raise AssertionError(
            f"not equal, or not {count},"
            f" within {within(seconds)} s: {totals()}"
        ) from None
    return totals()[0]


def await_same_cells(*regions: Region, seconds: float = 60) -> None:
    """Wait until every cell has one row for each claim, the same ones."""
    ledgers = [open_ledger(region) for region in regions]

    def settled() -> bool:
        return all(
            region.sql(cell, "SELECT COUNT(*) FROM s3_images")
            == [(ledger.head().total.count,)]
            for region, ledger in zip(regions, ledgers, strict=True)
            for cell in region.cells
        )

    wait_until(settled, seconds)
    rows = regions[0].rows("cell0")
    for region in regions:
        for cell in region.cells:
            assert region.rows(cell) == rows, f"{cell} of {region.name}"
    images = [uuid for _, uuid in rows]
    assert len(images) == len(set(images))
    assert dict(rows).keys() == set(ledgers[0].numbers_of(images).values())


def await_published(region: Region, seconds: float = 30) -> None:
    """Wait until all own claims of a region are on its broker."""
    ledger = open_ledger(region)

    def published() -> bool:
        with ledger.cursors.reader(PUBLISHING) as reader:
            return reader is not None and not reader.own_claims(1)[0]

    wait_until(published, seconds)


def moves(region: Region) -> list[tuple[object, ...]]:
    """Give the images whose number has changed."""
    return region.sql("ledger", "SELECT image, old, new FROM moves")


def queue_of(peer: Region) -> str:
    """Name the queue that a peer reads."""
    return f"ec2map_sync.{peer.name}"


def delete_queue(region: Region, name: str) -> None:
    """Delete a queue on a region's broker."""
    with kombu.Connection(region.bus_url) as connection:
        connection.default_channel.queue_delete(name)


def queue_length(region: Region, name: str) -> int:
    """Tell how many messages a queue has; of bytes, RabbitMQ tells nothing.

    And of a quorum queue in its lists only what was so seconds ago.
    """
    with kombu.Connection(region.bus_url) as connection:
        declared = connection.default_channel.queue_declare(name, passive=True)
    return int(declared.message_count)


def dump(mariadb: MariaDB, region: Region, path: Path) -> None:
    """Back a ledger up while its region runs."""
    with path.open("wb") as file:
        subprocess.run(
            [
                *_client(mariadb, "mariadb-dump"),
                "--single-transaction",
                _database(region),
            ],
            check=True,
            stdout=file,
            timeout=within(60),
        )


def restore(mariadb: MariaDB, region: Region, path: Path) -> None:
    """Make a ledger what it was."""
    empty(mariadb, region)
    with path.open("rb") as file:
        subprocess.run(
            [*_client(mariadb, "mariadb"), _database(region)],
            check=True,
            stdin=file,
            timeout=within(60),
        )


def empty(mariadb: MariaDB, region: Region) -> None:
    """Drop a ledger's database, and make it anew without tables."""
    mariadb.execute(f"DROP DATABASE `{_database(region)}`")
    mariadb.create_database(_database(region))


def _client(mariadb: MariaDB, program: str) -> list[str]:
    return [
        find_program(program, "mariadb-client"),
        "--no-defaults",
        "--host=127.0.0.1",
        f"--port={mariadb.port}",
        "--user=root",
    ]


def _database(region: Region) -> str:
    return sa.make_url(region.ledger).database or ""
