"""Which services a configuration asks for, and which loops they run.

The agent starts them from this table, and `status` misses them by it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ec2map_sync.rules import names
from ec2map_sync.rules.names import LoopName
from ec2map_sync.settings.config import Config

Sinks = Sequence[str]
"""Names of sinks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service of a region, in processes of its own."""

    name: str
    count: Callable[[Config], int]
    """How many processes it has; 0 where it is not asked for."""
    loops: Callable[[Config, Sinks], Sequence[LoopName]]
    """Those that somebody has to look after if they are silent."""


def _peers(config: Config) -> Sequence[str]:
    return [peer.name for peer in config.bus.peers]


def _has_sinks(config: Config) -> int:
    return int(bool(config.cells or config.nova_api or config.ec2api))


SERVICES = (
    Service(
        name="listener",
        count=lambda config: config.notifications.workers,
        loops=lambda _config, _sinks: [
            names.LISTENER,
            names.MEMORY,
            names.BOOKKEEPER,
        ],
    ),
    Service(
        name="auditor",
        count=lambda config: int(config.glance is not None),
        loops=lambda _config, _sinks: [names.AUDITOR],
    ),
    Service(
        name="publisher",
        count=lambda config: int(config.bus.publishes),
        loops=lambda config, _sinks: [
            names.PUBLISHER,
            names.ANSWERER,
            *([names.CANARY] if config.bus.canary_interval else []),
        ],
    ),
    Service(
        name="follower",
        count=lambda config: int(bool(config.bus.peers)),
        loops=lambda config, _sinks: [
            names.follower_of(peer) for peer in _peers(config)
        ],
    ),
    Service(
        name="writer",
        count=_has_sinks,
        loops=lambda config, sinks: [
            *(names.writer_of(sink) for sink in sinks),
            *(names.memo_of(s) for s in sinks if config.memcached(s)),
        ],
    ),
    Service(
        name="metrics",
        count=lambda config: int(config.metrics is not None),
        loops=lambda _config, _sinks: [],
    ),
    Service(
        name="api",
        count=lambda config: int(config.api_listen is not None),
        loops=lambda _config, _sinks: [],
    ),
)


def processes(config: Config) -> list[str]:
    """Returns the names of the processes that an agent starts."""
    return [
        f"{service.name}-{n}"
        for service in SERVICES
        for n in range(service.count(config))
    ]


def loops(config: Config, sinks: Sinks) -> list[LoopName]:
    """Returns the loops that there should be, with sinks of these names."""
    return [
        loop
        for service in SERVICES
        if service.count(config)
        for loop in service.loops(config, sinks)
    ]
