"""Messages of kombu's as we want them, in two ways.

Imported only where kombu is inside as `inside` knows it.
"""

from typing import Any

from kombu.message import Message
from kombu.transport import pyamqp, virtual

from ec2map_sync.broker import delivery


class _Carrier(Message):
    """A message that is read by us, whatever it says it is."""

    together = True
    """Whether the broker knows of acknowledging several with one frame."""
    lapsed = False
    with_earlier = False
    with_later = False

    def decode(self) -> dict[str, Any]:
        """Returns what oslo.messaging takes for the notification."""
        return delivery.decode(self.body, self)

    payload = property(decode)

    def ack(self, multiple: bool = False) -> None:
        """Tells the broker that it has taken effect."""
        if not (self.with_later or self.lapsed):
            super().ack(  # type: ignore[no-untyped-call]
                multiple=multiple or self.with_earlier
            )

    def requeue(self) -> None:
        """Gives it back."""
        if not self.lapsed:
            super().requeue()  # type: ignore[no-untyped-call]


class AmqpCarrier(_Carrier, pyamqp.Message):
    """What RabbitMQ has brought."""

    @property
    def lapsed(self) -> bool:  # type: ignore[override]
        """Whether its channel was closed meanwhile, or opened again."""
        holds = getattr(self.channel, "holds", None)  # if it is one of ours
        return holds is not None and not holds(self.delivery_tag)


class VirtualCarrier(_Carrier, virtual.Message):
    """What kombu's memory transport has brought."""

    together = False


class Plain(pyamqp.Message):
    """A message whose body is what was published."""

    def __init__(self, msg: Any, channel: Any = None, **options: Any) -> None:
        # kombu would unpack what a header says is packed: a few bytes into
        # gigabytes, or into an error that comes again with the message.
        msg.properties.get("application_headers", {}).pop("compression", None)
        super().__init__(  # type: ignore[no-untyped-call]
            msg, channel=channel, **options
        )


def install() -> None:
    """Lets every message that kombu brings be read by us."""
    pyamqp.Channel.Message = AmqpCarrier
    virtual.Channel.Message = VirtualCarrier


def take_as_it_comes(channel: Any) -> None:
    """Lets nobody decode bodies: what is signed are bytes."""
    if isinstance(channel, pyamqp.Channel):
        channel.Message = Plain
        channel.auto_decode = False
