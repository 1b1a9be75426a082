"""The Answerer: answers the questions of peers that compare with us."""

from collections.abc import Mapping
from functools import partial

from kombu.message import Message

from ec2map_sync.broker.link import body_of
from ec2map_sync.ledger import Ledger, Quarantined
from ec2map_sync.peers import compare
from ec2map_sync.peers.addressee import Answered
from ec2map_sync.peers.bus import Inbox, Outlet
from ec2map_sync.peers.refusals import Refusals
from ec2map_sync.peers.throttle import AMONG_OTHERS, Throttle
from ec2map_sync.protocol import wire
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.names import REQUESTS

QUESTIONS = 10
"""Questions taken at a time."""


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
        throttle: Throttle | None = None,
    ) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._outlet = outlet
        self._pen = pen
        self._trusted = trusted
        self._patience = patience
        self._answered = Answered(pen)
        self._refusals = Refusals(ledger, "among the questions to us")
        self._throttle = throttle or Throttle()

    def step(self) -> bool:
        """Answers what has been asked; waits a little if nothing has.

        After what it has refused, it rests: the Publisher shares its
        process.
        """
        if self._throttle.rest(self._patience):
            return True
        arrived = self._inbox.read(QUESTIONS, self._patience)
        for message in arrived:
            self._throttle.spend(partial(self._answer, message))
        self._inbox.acknowledge(arrived)
        self._outlet.pump()
        return True

    def close(self) -> None:
        """Drops both connections."""
        self._inbox.close()
        self._outlet.close()

    def _answer(self, message: Message) -> float:
        """Answers a question; how long to rest for each second it took."""
        body = body_of(message)
        try:
            received = wire.decode(
                message.headers or {}, body, self._trusted, self._pen.clock()
            )
            question = self._answered.checked(received)
        except BadMessage as error:
            bad = Quarantined(
                source=REQUESTS,
                reason=str(error),
                body=body,
                headers=message.headers or {},
            )
            self._refusals.put_away([bad])
            return AMONG_OTHERS
        if self._answered.knows(received, body):
            return AMONG_OTHERS
        reply = compare.answer(self._ledger, question)
        self._outlet.send(
            f"answer.{received.sender}",
            *wire.encode(reply, self._pen, reads=question.reads),
        )
        self._answered.note(received, body)
        return 0
