"""How notifications come out of oslo.messaging: in batches, none lost."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ec2map_sync.broker import inside
from ec2map_sync.broker.delivery import (
    Delivery,
    acknowledged_together,
    delivery_in,
)
from ec2map_sync.settings.values import Notifications

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    import oslo_messaging
    from oslo_messaging.dispatcher import DispatcherBase

SHORTEST_BATCH = 0.1
"""Seconds that oslo.messaging's own batches take, at least: it begins them
one after the other, also while nothing comes."""


def server(
    transport: Any, recorder: DispatcherBase, options: Notifications
) -> Any:
    """Returns what carries notifications to the recorder, not started yet."""
    logging.getLogger("oslo_utils.excutils").addFilter(_BRIEF)
    targets = [
        oslo_messaging.Target(exchange=options.exchange, topic=topic)
        for topic in options.topics
    ]
    common: dict[str, Any] = {
        "allow_requeue": True,
        "pool": options.pool,
        "batch_size": options.batch_size,
    }
    if inside.BATCHES.fits():
        from ec2map_sync.broker import (  # noqa: PLC0415, see there
            batches,
        )

        return batches.BatchServer(
            transport,
            targets,
            recorder,
            batch_timeout=options.batch_timeout,
            **common,
        )
    return oslo_messaging.get_batch_notification_listener(
        transport,
        targets,
        [_Endpoint(recorder.dispatch)],
        batch_timeout=max(options.batch_timeout, SHORTEST_BATCH),
        **common,
    )


class _Endpoint:
    """Takes the batches that oslo.messaging makes by itself.

    It reads the queues of those priorities that have a method here.
    """

    def __init__(
        self, dispatch: Callable[[Sequence[Delivery]], set[Any]]
    ) -> None:
        self._dispatch = dispatch

    def info(self, messages: Sequence[Mapping[str, Any]]) -> Any:
        """Records a batch; returns what oslo.messaging does with it."""
        deliveries = [delivery_in(message) for message in messages]
        if self._dispatch(deliveries):
            return oslo_messaging.NotificationResult.REQUEUE
        acknowledged_together(deliveries)
        return oslo_messaging.NotificationResult.HANDLED

    warn = error = info


class _Brief(logging.Filter):
    """Leaves tracebacks out of what the broker's state explains.

    A channel that the broker has closed, since a ledger was away for longer
    than it waits for acknowledgements, is opened again.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Shortens a record; none is dropped."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, oslo_messaging.MessageDeliveryFailure):
            record.exc_info = None
        return True


_BRIEF = _Brief()
