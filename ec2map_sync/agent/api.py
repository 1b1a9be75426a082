"""The process that answers look-ups, and what it is made of."""

from ec2map_sync.agent.host import Host
from ec2map_sync.agent.parts import POLL, loop_of
from ec2map_sync.api import app
from ec2map_sync.api.server import HttpServer
from ec2map_sync.running.threads import Threads
from ec2map_sync.settings.config import Config


def lookups(config: Config, _host: Host) -> Threads:
    """Answers look-ups, and shows the fleet."""
    listen = config.api_listen
    assert listen is not None
    region = app.region_of(config)
    server = HttpServer(listen, app.application(config, region), config.api)
    # It needs no ledger to begin: without one, it says so.
    return Threads(
        [loop_of("api", server.step, interval=POLL, release=server.close)],
        region.close,
    )
