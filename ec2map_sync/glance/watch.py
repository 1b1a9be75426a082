"""Watching the listener from beside: whether it gets what waits for it."""

import logging
import time
from collections.abc import Callable

from ec2map_sync.glance.broker import Queues
from ec2map_sync.glance.fit import Misfit
from ec2map_sync.glance.listener import Recorder
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.running import counters

LOG = logging.getLogger(__name__)


class ListenerWaiting(Ec2MapError):
    """The broker knows of no reader of a queue that we listen to."""


class Watchdog:
    """Sees a listener that gets nothing though its queues hold messages.

    A link that swallows frames does that, for as long as nobody notices.
    ``heal`` is called when it has lasted too long, and told what has; at
    once, if ``look`` finds that Glance's exchange has become another.
    """

    def __init__(
        self,
        recorder: Recorder,
        queues: Queues,
        *,
        patience: float,
        heal: Callable[[str], None],
        look: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder = recorder
        self._queues = queues
        self._patience = patience
        self._heal = heal
        self._look = look
        self._monotonic = monotonic
        self._batches = 0
        self._since: float | None = None
        self._begun = False

    def step(self) -> bool:
        """Looks once; raises what `Queues.states` and ``look`` do.

        :raises ListenerWaiting: the listener has lost its connection, and has
            no other one yet.
        """
        try:
            self._look()
        except Misfit as error:
            LOG.error("the listener is started anew: %s", error)
            self._heal(str(error))
            return False
        states = self._queues.states()
        self._judge(sum(messages for messages, _ in states.values()))
        unread = [name for name, (_, readers) in states.items() if not readers]
        # It says that it listens a moment before it does.
        begun, self._begun = self._begun, True
        if unread and begun:
            raise ListenerWaiting(
                f"the listener does not read {', '.join(unread)}: it connects "
                "anew to the broker"
            )
        return False

    def _judge(self, waiting: int) -> None:
        """Heals a listener that gets nothing of what waits."""
        now = self._monotonic()
        moves = self._recorder.busy or self._recorder.batches != self._batches
        self._batches = self._recorder.batches
        if moves or not waiting:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._patience:
            text = (
                f"the listener has got nothing for {now - self._since:.0f} "
                f"s, while {waiting} notifications wait in "
                f"{', '.join(self._queues.names)}: it is started anew"
            )
            LOG.error(text)
            self._since = None
            counters.STALLS.add(1)
            self._heal(text)
