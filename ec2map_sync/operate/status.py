"""How a region is: everything that 'status' looks at."""

import time
from collections.abc import Callable

from ec2map_sync.monitor.status import Examination, Line
from ec2map_sync.region import Region
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.settings.services import loops


def lines(
    region: Region,
    *,
    clock: Callable[[], Stamp],
    sleep: Callable[[float], None] = time.sleep,
) -> list[Line]:
    """Looks at everything once."""
    config = region.config
    examination = Examination(
        region.ledger,
        region.bus,
        sinks := region.sink_names,
        expected=loops(config, sinks),
        clock=clock,
        sleep=sleep,
    )
    found = examination.lines()
    if config.notifications.management_url is not None:
        from ec2map_sync.monitor.queues import queue_lines  # noqa: PLC0415, slow

        found += queue_lines(config)
    return found
