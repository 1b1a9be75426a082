"""Glance's queues in `status`, where the broker's management is configured."""

from ec2map_sync.glance.listener import register_options
from ec2map_sync.glance.management import ManagementError, eaters
from ec2map_sync.monitor.status import Line
from ec2map_sync.settings.config import Config


def queue_lines(config: Config) -> list[Line]:
    """Returns a line for each queue that is eaten up, or grows."""
    if config.notifications.management_url is None:
        return []
    register_options(config.conf)
    try:
        found = eaters(config.conf, config.notifications)
    except ManagementError as error:
        return [_line("management", "unknown", str(error))]
    return [_line(one.queue, "may lose", str(one)) for one in found]


def _line(name: str, state: str, error: str) -> Line:
    return Line(
        what="queue", name=name, state=state, healthy=False, last_error=error
    )
