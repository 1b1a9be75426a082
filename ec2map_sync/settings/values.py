"""What sections of the configuration say, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ec2map_sync.broker.address import Address
from ec2map_sync.rules.selection import ALL_IMAGES, Selection

if TYPE_CHECKING:  # `ec2map-sync id` should not wait for these imports
    from sqlalchemy.engine import URL

    from ec2map_sync.protocol.signing import PublicKey, SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """Where Glance's notifications are read, and how."""

    exchange: str
    topics: tuple[str, ...]
    pool: str | None
    batch_size: int
    batch_timeout: float
    workers: int
    stall_timeout: float
    management_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another region: its broker, and who may speak for it."""

    name: str
    broker: Address
    keys: tuple["PublicKey", ...]
    exchange: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """How regions reach each other."""

    region: str
    broker: Address | None
    exchange: str
    key: "SigningKey | None"
    heartbeat_interval: float
    claim_wait: float
    max_moves: int
    max_evictions: int
    queue_max_bytes: int
    queue_expires: int
    batch_size: int
    peers: tuple[Peer, ...]
    canary_interval: int
    """Seconds between two canaries; 0 for none."""

    @property
    def publishes(self) -> bool:
        """Whether there are peers to be told, or may be."""
        return bool(self.broker and self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """How often Glance is asked what it has, and as what.

    How it is reached stands in keystoneauth's own options in [glance].
    """

    region_name: str
    endpoint: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    audit_interval: float
    poll_interval: float
    selection: Selection = ALL_IMAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Who may ask for mappings, and how many at a time."""

    auth: str
    allow_unauthenticated: bool
    threads: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A Nova cell's database."""

    name: str
    url: "URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaApi:
    """Where Nova lists its cells."""

    url: "URL"
    template: str | None = field(repr=False)
    """What Nova's own processes have as [database] connection."""
    interval: float
    """Seconds between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoTls:
    """How memcached's certificate is checked; named as oslo.cache does."""

    cafile: str | None = None
    """Who signs certificates; without it, those that the system trusts."""
    certfile: str | None = None
    keyfile: str | None = None
    allowed_ciphers: str | None = None
