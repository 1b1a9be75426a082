"""Retiring a peer: its queue on our broker, its traces in the ledger."""

from dataclasses import dataclass

import amqp.exceptions

from ec2map_sync.broker import link
from ec2map_sync.broker.address import Address
from ec2map_sync.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What is left here of a peer."""

    queue: str
    messages: int | None
    """In the queue; None if there is no queue."""
    remembered: bool

    @property
    def any(self) -> bool:
        """Whether there is anything to forget."""
        return self.remembered or self.messages is not None


def traces(
    ledger: Ledger, broker: Address, exchange: str, peer: str
) -> Traces:
    """Looks what there is of a peer.

    :raises Exception: one of `link.BROKEN` if the broker is away.
    """
    queue = f"{exchange}.{peer}"
    return Traces(
        queue=queue,
        messages=_count(broker, queue),
        remembered=peer in ledger.journal.peer_states(),
    )


def forget(ledger: Ledger, broker: Address, exchange: str, peer: str) -> None:
    """Deletes a peer's queue and its traces; its claims stay everybody's.

    :raises Exception: one of `link.BROKEN` if the broker is away.
    """
    with link.connect(broker) as connection:
        connection.default_channel.queue_delete(f"{exchange}.{peer}")
    ledger.journal.forget_peer(peer)
    ledger.statements.forget(peer)


def _count(broker: Address, queue: str) -> int | None:
    with link.connect(broker) as connection:
        try:
            found = connection.default_channel.queue_declare(
                queue, passive=True
            )
        except amqp.exceptions.NotFound:
            return None
        return int(found.message_count)
