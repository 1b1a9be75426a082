"""Another reader of Glance's notifications, as Ceilometer is one."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Self

import oslo_messaging
from cloud import CloudRegion
from oslo_config import cfg
from patience import wait_until


class Ceilometer:
    """Remembers, while entered, which events it has heard of which image."""

    def __init__(self, region: CloudRegion) -> None:
        self.heard: dict[str, list[str]] = defaultdict(list)
        url = region.rabbit.transport_url(region.vhost)
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        transport = oslo_messaging.get_notification_transport(conf, url)
        self._listener = oslo_messaging.get_notification_listener(
            transport,
            [oslo_messaging.Target(exchange="glance", topic="notifications")],
            [self],
            executor="threading",
        )

    def __enter__(self) -> Self:
        self._listener.start(override_pool_size=1)
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.stop()
        self._listener.wait()

    def await_events(
        self, images: Iterable[str], count: int
    ) -> list[list[str]]:
        """Wait until so many events of each image were heard; which."""
        heard = [self.heard[image] for image in images]
        wait_until(lambda: all(len(events) >= count for events in heard))
        return heard

    def info(
        self,
        _context: object,
        _publisher: str,
        event: str,
        payload: dict[str, Any],
        _metadata: object,
    ) -> None:
        """Hear a notification."""
        self.heard[str(payload.get("id"))].append(event)
