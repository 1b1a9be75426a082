"""The ledger: a region's database, and the one door into it."""

from ec2map_sync.ledger.ledger import (
    Head,
    Ledger,
    PeerState,
    Quarantined,
    Reader,
    Recorded,
)

__all__ = [
    "Head",
    "Ledger",
    "PeerState",
    "Quarantined",
    "Reader",
    "Recorded",
]
