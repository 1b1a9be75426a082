"""What operators do in the evening: they take what is held of peers' claims.

As `ec2map-sync quarantine retry` does. Where peers may take few numbers, there
are claims held of who lies, and of regions that did not know of each other.
"""

from contextlib import suppress

from ec2map_sync.ledger import HELD
from ec2map_sync.operate.quarantine import Retrial
from ec2map_sync.region import Region as Opened
from ec2map_sync.rules.errors import BadMessage
from played.region import Region

HOLDS = f"SELECT 1 FROM quarantine WHERE reason LIKE '{HELD}%'"
"""Finds something in a ledger that waits for a decision."""


def take_held(region: Region) -> None:
    """Takes all that is held in a region."""
    host = next(host for host in region.hosts if host.up)
    opened = Opened(host.config)
    try:
        retrial = Retrial(
            opened.ledger,
            opened.trusted,
            opened.pen,
            host.config.selection,
            opened.believe,
        )
        quarantine = opened.ledger.quarantine
        for brief in reversed(quarantine.newest()):
            entry = quarantine.entry(brief.id)
            if entry is None or not entry.reason.startswith(HELD):
                continue
            with suppress(BadMessage):
                retrial.take(entry, dry_run=False)
            quarantine.release([brief.id])
    finally:
        opened.close()
