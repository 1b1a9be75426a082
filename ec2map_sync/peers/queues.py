"""Our own queues: of which type they are, and how one becomes another."""

import logging
from collections.abc import Sequence
from typing import Any

import kombu
from amqp.exceptions import PreconditionFailed

LOG = logging.getLogger(__name__)

_TYPE = "x-queue-type"

_TWO = 2
"""Nodes of which a quorum queue needs both: the death of either stops it."""


def declare(channel: Any, queue: kombu.Queue, *, nodes: int) -> kombu.Queue:
    """Declares a queue as it is there, or as is best for so many nodes.

    A quorum queue outlives a node where there are three. What is there as a
    classic queue is made anew as one: comparing brings what was in it. It is
    never the other way round, so that hosts of ours that know of different
    numbers of nodes agree in the end.

    :raises PreconditionFailed: it is there with other arguments.
    :raises NotFound: it is there, on a node that is down.
    """
    if nodes == _TWO:
        return as_it_is(channel, queue, ("classic", "quorum"))
    try:
        return _declared(channel, queue, "quorum")
    except PreconditionFailed as error:
        if f"inequivalent arg '{_TYPE}'" not in str(error):
            # Perhaps no such queue can be had here, or not with all of that.
            return as_it_is(channel, queue, ("classic",))
    channel.queue_delete(queue.name)
    LOG.info("%s is made anew, as a quorum queue", queue.name)
    return _declared(channel, queue, "quorum")


def as_it_is(
    channel: Any,
    queue: kombu.Queue,
    types: Sequence[str] = ("quorum", "classic"),
) -> kombu.Queue:
    """Declares a queue as the first type that fits what is there.

    :raises PreconditionFailed: none does.
    """
    refusal: Exception | None = None
    for name in types:
        try:
            return _declared(channel, queue, name)
        except PreconditionFailed as error:
            if refusal is None or _TYPE not in str(error):
                refusal = error
    assert refusal is not None
    raise refusal


def renew(channel: Any, queue: kombu.Queue) -> kombu.Queue:
    """Makes anew, on a node that is up, what does not answer.

    A quorum queue of two nodes is so as soon as either dies. No other can be
    had until it is back: it becomes a classic one.

    :raises NotFound: it is on a node that is down.
    """
    LOG.warning(
        "%s does not answer, and is made anew: is a node of the broker down? "
        "See 'ec2map-sync config check'",
        queue.name,
    )
    channel.queue_delete(queue.name)
    return _declared(channel, queue, "classic")


def _declared(channel: Any, queue: Any, name: str) -> kombu.Queue:
    found = kombu.Queue(
        queue.name,
        durable=True,
        queue_arguments=queue.queue_arguments | {_TYPE: name},
    )(channel)
    found.queue_declare()
    return found
