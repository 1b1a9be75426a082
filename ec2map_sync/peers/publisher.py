"""The Publisher: tells the peers what was claimed here, and what is held."""

import time
from collections.abc import Callable, Mapping

from kombu.message import Message

from ec2map_sync.broker.link import body_of
from ec2map_sync.ledger import PUBLISHER, Ledger, Quarantined
from ec2map_sync.peers import compare
from ec2map_sync.peers.bus import Inbox, Outlet
from ec2map_sync.peers.refusals import Refusals
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.running import counters

REQUESTS = "requests"
"""The source of what is quarantined here."""

QUESTIONS = 10
"""Questions taken at a time."""
SETTLED_AFTER = 3_000_000
"""Microseconds: claims older than this have reached every live peer."""


class Answerer:
    """Answers the questions of peers that compare their ledger with ours."""

    def __init__(
        self,
        ledger: Ledger,
        inbox: Inbox,
        outlet: Outlet,
        pen: wire.Pen,
        trusted: Mapping[str, wire.Trust],
        *,
        patience: float,
    ) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._outlet = outlet
        self._pen = pen
        self._trusted = trusted
        self._patience = patience
        self._refusals = Refusals(ledger, "among the questions to us")

    def step(self) -> bool:
        """Answer what has been asked; waits a little if nothing has."""
        messages = self._inbox.read(QUESTIONS, self._patience)
        for message in messages:
            self._answer(message)
        self._inbox.acknowledge(messages)
        self._outlet.pump()
        return True

    def close(self) -> None:
        """Drop both connections."""
        self._inbox.close()
        self._outlet.close()

    def _answer(self, message: Message) -> None:
        body = body_of(message)
        try:
            received = wire.decode(
                message.headers or {}, body, self._trusted, self._pen.clock()
            )
            question = received.message
            if not isinstance(question, messages.Compare):
                raise BadMessage("no question, where only questions belong")
        except BadMessage as error:
            bad = Quarantined(
                source=REQUESTS,
                reason=str(error),
                body=body,
                headers=message.headers or {},
            )
            self._refusals.put_away([bad])
            return
        reply = compare.answer(self._ledger, question)
        self._outlet.send(
            f"answer.{received.sender}", *wire.encode(reply, self._pen)
        )


class Publisher:
    """Publishes own new claims in batches, and heartbeats between them."""

    def __init__(
        self,
        ledger: Ledger,
        outlet: Outlet,
        pen: wire.Pen,
        *,
        batch_size: int,
        heartbeat_interval: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._outlet = outlet
        self._pen = pen
        self._batch_size = batch_size
        self._interval = heartbeat_interval
        self._monotonic = monotonic
        self._beaten_at: float | None = None  # at once after a start

    def step(self) -> bool:
        """Publish what is new; True if there may be more."""
        with self._ledger.reader(PUBLISHER) as reader:
            if reader is None:
                return False  # another host publishes
            self._beat_if_due()
            claims, upto = reader.own_claims(self._batch_size)
            for start in range(0, len(claims), self._batch_size):
                some = claims[start : start + self._batch_size]
                self._send("claims", messages.Claims(claims=tuple(some)))
            if claims:
                # After the broker has confirmed: a crash between the two
                # publishes twice, and joining twice changes nothing.
                reader.advance(upto)
                counters.PUBLISHED.add(len(claims))
        self._outlet.pump()
        return len(claims) >= self._batch_size

    def _beat_if_due(self) -> None:
        now = self._monotonic()
        if (
            self._beaten_at is not None
            and now - self._beaten_at < self._interval
        ):
            return
        until = self._pen.clock() - SETTLED_AFTER
        head, before = self._ledger.print_before(until)
        self._send(
            "heartbeat",
            messages.Heartbeat(
                until=until,
                before=before,
                total=head.total,
                newest=head.last_stamp,
            ),
        )
        self._beaten_at = now

    def _send(self, routing_key: str, message: messages.Message) -> None:
        self._outlet.send(routing_key, *wire.encode(message, self._pen))
