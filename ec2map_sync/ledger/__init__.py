"""The ledger: a region's database, and the one door into it."""

from ec2map_sync.ledger.allowance import Allowance
from ec2map_sync.ledger.feeds import PUBLISHING, Reader
from ec2map_sync.ledger.journal import Journal, PeerState, ServiceState
from ec2map_sync.ledger.known import Head
from ec2map_sync.ledger.ledger import Ledger, Recorded
from ec2map_sync.ledger.quarantine import HELD, Quarantined

__all__ = [
    "HELD",
    "PUBLISHING",
    "Allowance",
    "Head",
    "Journal",
    "Ledger",
    "PeerState",
    "Quarantined",
    "Reader",
    "Recorded",
    "ServiceState",
]
