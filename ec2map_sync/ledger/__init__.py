"""The ledger: a region's database, and the one door into it."""

from ec2map_sync.ledger.ledger import (
    Head,
    Heartbeat,
    Ledger,
    Quarantined,
    Reader,
    Recorded,
)

__all__ = [
    "Head",
    "Heartbeat",
    "Ledger",
    "Quarantined",
    "Reader",
    "Recorded",
]
