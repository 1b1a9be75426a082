"""A consumer of oslo.messaging that makes no exchange.

Imported only where oslo.messaging is inside as `inside` knows it. With each
connection it declares the exchange once more. After a restart of the broker
that would be before Glance does, and as we say, not as Glance does.
"""

import warnings
from typing import Any, NoReturn

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    from oslo_messaging._drivers import impl_rabbit


class Consumer(impl_rabbit.Consumer):  # type: ignore[misc]
    """Reads a queue of an exchange that is somebody else's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exchange.passive = self.type == "topic"

    def declare(self, conn: Any) -> None:
        """Declares the queue, if the exchange is there.

        :raises amqp.exceptions.ChannelError: it is not, or is another; tried
            again by whoever calls. Raised further inside, oslo.messaging
            would delete the queue.
        """
        if self.exchange.passive:
            declare = conn.channel.exchange_declare
            declare(self.exchange_name, self.type, passive=True)
            # Compared, lest queues be made that do not fit Glance either.
            declare(
                self.exchange_name,
                self.type,
                durable=self.durable,
                auto_delete=self.exchange_auto_delete,
            )
        super().declare(conn)

    def _declare_fallback_nondurable(
        self, err: Exception, *_others: Any
    ) -> NoReturn:
        """Makes do with nothing else than what our options say."""
        raise err


def install() -> None:
    """Lets every consumer be such a one."""
    impl_rabbit.Consumer = Consumer
