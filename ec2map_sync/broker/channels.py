"""A channel of py-amqp whose delivery tags never come again.

Imported only where py-amqp is inside as `inside` knows it. It opens a
channel that the broker has closed again as the same object, whose tags begin
at 1 anew: what acknowledges a message of before would take away another,
which nobody has recorded, or many. The broker brings those of before again.
"""

from typing import Any

from kombu.transport import pyamqp


class Channel(pyamqp.Channel):
    """Counts deliveries on, whenever it is opened again."""

    _before = 0
    """How many were delivered until it was opened last."""
    _last = 0

    def _on_open_ok(self) -> None:
        self._before = self._last
        super()._on_open_ok()

    def _on_basic_deliver(
        self, consumer_tag: str, delivery_tag: int, *rest: Any
    ) -> None:
        self._last = self._before + delivery_tag
        super()._on_basic_deliver(consumer_tag, self._last, *rest)

    def holds(self, delivery_tag: int) -> bool:
        """Returns whether a message is in hand: not if it is one of before."""
        return self.connection is not None and delivery_tag > self._before

    def basic_ack(
        self, delivery_tag: int, multiple: bool = False, **options: Any
    ) -> None:
        """Acknowledges a message, unless it is one of before."""
        if delivery_tag > self._before:
            tag = delivery_tag - self._before
            super().basic_ack(tag, multiple, **options)

    def basic_reject(
        self, delivery_tag: int, requeue: bool, **options: Any
    ) -> None:
        """Gives a message back, unless it is one of before."""
        if delivery_tag > self._before:
            tag = delivery_tag - self._before
            super().basic_reject(tag, requeue, **options)


def install() -> None:
    """Lets every channel of kombu's be such a one."""
    pyamqp.Connection.Channel = Channel
