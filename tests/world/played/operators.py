"""What operators do with the package's commands, beside looking.

Nova has numbered images before us, and an operator lets them keep these
numbers: `ec2map-sync adopt`, once all peers agree.
"""

import time
from contextlib import suppress
from functools import partial
from random import Random

from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync.operate.adopt import Adoption
from ec2map_sync.peers.gate import late
from ec2map_sync.region import Region as Opened
from ec2map_sync.rules.stamps import earlier, wall_clock
from played.region import Host
from played.world import World

AGREED_WITHIN = 60.0
"""Seconds: as for `ec2map-sync adopt`."""
ATTEMPTS = 4
PAUSE = 5.0
"""Seconds until an operator who was refused tries again."""


def adopt(world: World, rng: Random) -> None:
    """Nova has numbered an image before us, and an operator adopts that."""
    region = rng.choice(world.regions)
    hosts = [host for host in region.hosts if host.up]
    if not world.images or not hosts:
        return
    cell, image = rng.choice(region.cells), rng.choice(world.images)
    number = cell.remember(image, world.legacy())
    world.say(f"Nova of {region.name} has had {image[:8]} as {number}")
    world.adopting.append(region)
    world.operate(region, partial(_adopt, hosts[0]))


def _adopt(host: Host) -> None:
    opened = Opened(host.config)
    try:
        # Who is refused, or finds a database away, does it another day.
        with suppress(SQLAlchemyError):
            for _ in range(ATTEMPTS):
                if _peers_agree(opened):
                    _adopt_all(opened)
                    return
                time.sleep(PAUSE)
    finally:
        opened.close()


def _peers_agree(opened: Opened) -> bool:
    now = wall_clock()
    names = [peer.name for peer in opened.bus.peers]
    return not late(opened.ledger, names, earlier(now, AGREED_WITHIN), now)


def _adopt_all(opened: Opened) -> None:
    adoption = Adoption(opened.ledger, dry_run=False)
    for sink in opened.sinks:
        for _ in adoption.go_through(sink):
            pass
