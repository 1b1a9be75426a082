"""Listening to Glance: its notifications into the ledger, in batches."""

import json
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from oslo_config import cfg

from ec2map_sync import outages
from ec2map_sync.glance import intake
from ec2map_sync.glance.attempts import Attempts
from ec2map_sync.glance.broker import (
    PRIORITIES,
    notifications_url,
    rabbit_options,
)
from ec2map_sync.glance.fit import require_fit
from ec2map_sync.glance.notifications import sighted, stamp_of, type_of
from ec2map_sync.ledger import Ledger, Quarantined
from ec2map_sync.rules.claims import Believe, Sighting, believe_none
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.names import GLANCE, LISTENER, UNREADABLE
from ec2map_sync.rules.selection import ALL_IMAGES, Selection
from ec2map_sync.running import counters
from ec2map_sync.running.loop import Pause
from ec2map_sync.settings.plainly import read_all
from ec2map_sync.settings.values import Notifications

with warnings.catch_warnings():
    # It imports eventlet, which warns whoever does.
    warnings.simplefilter("ignore")
    import oslo_messaging
    from oslo_messaging import dispatcher, opts as messaging_opts

LOG = logging.getLogger(__name__)

Outcomes = Mapping[tuple[str, str], int]
"""How many notifications, by type and what became of them."""

MIN_PREFETCH = 100
"""Below, batches stay small, since the broker sends no more at a time."""

LONGEST_PAUSE = 5
"""Seconds between attempts to reach the broker; by itself, oslo.messaging
makes it half a minute."""


def register_options(conf: cfg.ConfigOpts) -> None:
    """Registers oslo.messaging's options, before the files are read."""
    for group, options in messaging_opts.list_opts():
        conf.register_opts(options, group=group)


def check_options(conf: cfg.ConfigOpts) -> None:
    """Reads oslo.messaging's options once, so that slips show at the start.

    :raises ConfigError: naming the option and what it should be.
    """
    for group, options in messaging_opts.list_opts():
        values = conf[group] if group else conf
        read_all(values, group or "DEFAULT", options)
    rabbit_options(conf)


class Recorder(dispatcher.DispatcherBase):  # type: ignore[misc]
    """Records batches of notifications; what oslo.messaging calls.

    A dispatcher of our own sees a batch as it came, in order and whatever
    the priority. It answers which messages were not taken: none, or, if the
    service stops while the ledger is away, all of them. Nothing that it
    cannot understand is ever sent back: that would come again at once.
    """

    supported_priorities = PRIORITIES

    def __init__(
        self,
        ledger: Ledger,
        recorded: Callable[[], None],
        selection: Selection = ALL_IMAGES,
        believe: Believe = believe_none,
        attempts: Attempts | None = None,
    ) -> None:
        self._ledger = ledger
        self._attempts = attempts
        self._selection = selection
        self._believe = believe
        self._recorded = recorded
        self._stopping = threading.Event()
        self._pause = Pause(str(LISTENER), describe, outages.cause_of)
        self.batches = 0
        """How many have come."""
        self.busy = False
        """Whether one is being recorded, or waits for the ledger."""
        self.too_late = False
        """Whether the broker has taken some back while the ledger was away."""

    def dispatch(self, incoming: Sequence[Any]) -> set[Any]:
        """Records a batch; returns when it is committed."""
        self.batches += 1
        self.busy = True
        if self._attempts:
            self._attempts.begin()
        try:
            return self._dispatch(incoming)
        finally:
            self.busy = False
            if self._attempts:
                self._attempts.end()

    def _dispatch(self, incoming: Sequence[Any]) -> set[Any]:
        while not self._stopping.is_set():
            # The broker brings those again that it waits for no longer.
            held = [one for one in incoming if not one.lapsed]
            if len(held) < len(incoming) and self._pause.trouble:
                self.too_late = True
            if not held:
                return set()
            error = self._attempt([one.message for one in held])
            if error is None:
                self._pause.over()
                return set()
            self._stopping.wait(self._pause.after(error))
        return set(incoming)

    def stop(self) -> None:
        """Gives up waiting for the ledger: the broker keeps the messages."""
        self._stopping.set()

    def begin(self) -> None:
        """Makes sure that the ledger answers, before anything is taken.

        What the broker delivers in vain, a quorum queue may drop after some
        times.

        :raises SQLAlchemyError: it does not answer, or takes nothing.
        :raises AttemptError: what was taken before has come to no end, again
            and again, and it is too early for more.
        """
        if self._attempts:
            self._attempts.require_rest()
        self._ledger.require()
        self._stopping.clear()
        self.too_late = False

    def _attempt(self, notifications: Sequence[Any]) -> Exception | None:
        sightings, bad, tally = _sort(notifications, self._selection)
        try:
            self._record(sightings, bad)
        except Exception as error:  # noqa: BLE001, let out, it would lose them
            return error
        _count(tally, notifications)
        return None

    def _record(
        self, sightings: Sequence[Sighting], bad: Sequence[Quarantined]
    ) -> None:
        seen = self._believe(sightings)
        news = self._ledger.see(seen).news if seen else 0
        if news:
            self._recorded()
            counters.CLAIMS.add(news, "notifications")
        if bad:
            self._ledger.quarantine.put(bad)
            LOG.warning(
                "%d notifications are in quarantine: %s; see 'ec2map-sync "
                "quarantine list'",
                len(bad),
                bad[-1].reason,
            )


def _sort(
    notifications: Sequence[Any], selection: Selection
) -> tuple[list[Sighting], list[Quarantined], Outcomes]:
    sightings: list[Sighting] = []
    bad: list[Quarantined] = []
    outcomes: list[str] = []
    for notification in notifications:
        try:
            sighting = _sighted(notification, selection)
        except BadMessage as error:
            body = _written(notification)
            bad.append(
                Quarantined(source=GLANCE, reason=str(error), body=body)
            )
            outcomes.append("quarantined")
        else:
            if sighting:
                sightings.append(sighting)
            outcomes.append("taken" if sighting else "ignored")
    types = map(type_of, notifications)
    return sightings, bad, Counter(zip(types, outcomes, strict=True))


def _count(tally: Outcomes, notifications: Sequence[Any]) -> None:
    """Counts a batch whose effect is committed."""
    for (name, outcome), count in tally.items():
        counters.NOTIFICATIONS.add(count, name, outcome)
    counters.BATCH_SIZE.observe(len(notifications))
    sent_at = stamp_of(notifications[0])
    if sent_at is not None:
        counters.NOTIFICATION_DELAY.since(sent_at)


def _sighted(notification: Any, selection: Selection) -> Sighting | None:
    if isinstance(notification, Mapping) and UNREADABLE in notification:
        raise BadMessage(f"unreadable: {notification[UNREADABLE][0][:200]}")
    return sighted(notification, selection)


def _written(notification: Any) -> bytes:
    """Writes down what the quarantine keeps, so that it can be read again."""
    if isinstance(notification, Mapping) and UNREADABLE in notification:
        return bytes(notification[UNREADABLE][1])
    try:
        return json.dumps(notification, default=repr).encode()
    except (TypeError, ValueError, RecursionError):
        return b""  # nested as no notification is


describe = partial(
    outages.describe,
    database="the ledger does not answer",
    broker="Glance's broker",
)
"""Says in one line what keeps the Listener waiting."""


class Listener:
    """oslo.messaging's listener, in one thread, in order."""

    def __init__(
        self, conf: cfg.ConfigOpts, options: Notifications, recorder: Recorder
    ) -> None:
        self._conf = conf
        self._options = options
        self.recorder = recorder
        self._server: Any = None
        self.listening = False

    def start(self) -> None:
        """Begins to listen, once Glance's exchange is there.

        :raises Exception: one of `link.BROKEN` if the broker is away;
            NoExchange or Misfit, if Glance's exchange is not there yet, or
            otherwise than our options say; what `Recorder.begin` raises.
        """
        options = self._options
        require_fit(self._conf, options)
        self.recorder.begin()
        self._server = intake.server(self._transport(), self.recorder, options)
        self._server.start(override_pool_size=1)  # one thread keeps order
        self.listening = True
        LOG.info(
            "listening on exchange %s, topics %s",
            options.exchange,
            ", ".join(options.topics),
        )

    def _transport(self) -> Any:
        """Returns oslo.messaging's way to the broker, as it suits us."""
        group = "oslo_messaging_rabbit"
        # Copied from Glance, it is 1 where its fan-out needs a number.
        name = "rabbit_qos_prefetch_count"
        found = rabbit_options(self._conf)[name]
        most = max(found, 2 * self._options.batch_size, MIN_PREFETCH)
        self._conf.set_override(name, most, group=group)
        self._conf.set_default("rabbit_interval_max", LONGEST_PAUSE, group)
        url = notifications_url(self._conf)
        url.query.pop(name, None)
        return oslo_messaging.get_notification_transport(self._conf, url)

    def hold_back(self) -> bool:
        """Stops if the ledger is away for longer than the broker waits.

        Each time that this comes to an end, all that is in hand would be
        delivered once more. Tells whether it has stopped.
        """
        if not self.recorder.too_late:
            return False
        LOG.warning(
            "the broker takes back what has waited too long for the ledger "
            "([ledger] connection): notifications stay there until it answers"
        )
        self.stop()
        return True

    def stop(self) -> None:
        """Finishes the batch at hand, leave the rest to the broker."""
        self.recorder.stop()
        server, self._server = self._server, None
        self.listening = False
        if server is not None:
            server.stop()
            server.wait()
