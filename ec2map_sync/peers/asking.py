"""Asking a peer beside the agent: for a command that wants to know now."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import amqp.exceptions
import kombu

from ec2map_sync.broker import link
from ec2map_sync.ledger import Ledger
from ec2map_sync.peers import bus
from ec2map_sync.peers.addressee import Addressee
from ec2map_sync.peers.compare import RANGES, Pull
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Claim, Print, Range, Span, join
from ec2map_sync.rules.errors import BadMessage, Ec2MapError
from ec2map_sync.settings.values import Bus, Peer
from ec2map_sync.sql.statements import batched

DEADLINE = 20.0
"""Seconds without an answer after which a peer counts as silent."""

_BATCH = 20
_PATIENCE = 0.2


class PeerSilent(Ec2MapError):
    """A peer cannot be asked, or does not answer."""


class Aside(bus.Inlet):
    """A short-lived queue of our own on a peer's broker.

    The agent's queue has one reader only, which is the agent. Both get the
    answers to our questions; the agent ignores what it has not asked.
    """

    def __init__(self, peer: Peer, options: Bus) -> None:
        super().__init__(peer, options)
        self.peer = peer.name

    def _declare(self, channel: Any) -> kombu.Queue:
        exchange = self._peer.exchange
        channel.exchange_declare(exchange, "topic", passive=True)
        queue = self._spare(channel)
        try:
            queue.queue_declare()
        except amqp.exceptions.ResourceLocked as error:
            raise PeerSilent(
                f"{self.peer} is being asked by another command of ours, or "
                "the agent reads this queue, since a node of that broker is "
                "down; wait until that has ended"
            ) from error
        return queue

    def _bind(self, queue: kombu.Queue) -> None:
        for key in ("heartbeat", f"answer.{self._reader}"):
            queue.bind_to(self._peer.exchange, key)


class Asker:
    """Talks with one peer: hears its heartbeats, pulls what we miss.

    :raises PeerSilent: from each method, if the peer or its broker does not
        answer; the text says which.
    """

    def __init__(
        self,
        ledger: Ledger,
        inlet: Aside,
        trust: wire.Trust,
        pen: wire.Pen,
        *,
        deadline: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._inlet = inlet
        self._trust = trust
        self._pen = pen
        self._deadline = deadline
        self._monotonic = monotonic
        self._addressee = Addressee(trust.sender, pen.clock, monotonic)
        self._refused = ""

    def __enter__(self) -> "Asker":
        """Lets a caller hold the connection for a while."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Drops the connection, and the queue with it."""
        self._inlet.close()

    def heartbeat(self) -> messages.Heartbeat:
        """Waits for the next heartbeat."""
        until = self._monotonic() + self._deadline
        while self._monotonic() < until:
            for message in self._read():
                if isinstance(message, messages.Heartbeat):
                    return message
        raise self._silent()

    def pull(
        self, span: Span, take: Callable[[Sequence[Claim]], object]
    ) -> int:
        """Gives to ``take`` what the peer has and we have not.

        Returns how many of its claims we refuse.
        """
        refused = 0
        pull = Pull(
            self._ledger, self._ask, span=span, monotonic=self._monotonic
        )
        answered = self._monotonic()
        pull.step()
        while not pull.complete:
            for message in self._read():
                if isinstance(message, messages.Answer) and pull.take(message):
                    take(message.claims)
                    refused += sum(one.count for one in message.bad)
                    answered = self._monotonic()
            if self._monotonic() - answered > self._deadline:
                raise self._silent()
            pull.step()
        return refused

    def held(self, claims: Sequence[Claim]) -> list[Claim]:
        """Returns what the peer holds where we hold these claims.

        The question says that we hold nothing there: so the answer has
        claims, whether they are news or not.
        """
        found: list[Claim] = []
        for some in batched(claims, RANGES):
            spans = [Span(claim.bound, claim.after) for claim in some]
            nothing = Print(0, 0)
            question = messages.Compare(
                id=uuid.uuid4().hex,
                ranges=tuple(Range(span=s, print=nothing) for s in spans),
                reads=wire.DEFLATED,
            )
            self._ask(question)
            found += self._answer(question.id).claims
        return found

    def _answer(self, question: str) -> messages.Answer:
        until = self._monotonic() + self._deadline
        while self._monotonic() < until:
            for message in self._read():
                if (
                    isinstance(message, messages.Answer)
                    and message.id == question
                ):
                    return message
        raise self._silent()

    def _ask(self, question: messages.Compare) -> None:
        addressed = self._addressee.address(question)
        headers, body = wire.encode(addressed, self._pen, question.version)
        try:
            self._inlet.ask(headers, body)
        except link.BROKEN as error:
            raise self._unreachable(error) from error

    def _read(self) -> Iterator[messages.Message]:
        """Returns what the peer has said; leaves out what is not its own."""
        try:
            arrived = self._inlet.read(_BATCH, _PATIENCE)
            self._inlet.acknowledge(arrived)
        except link.BROKEN as error:
            raise self._unreachable(error) from error
        for one in arrived:
            try:
                received = wire.decode(
                    one.headers or {},
                    link.body_of(one),
                    {self._trust.sender: self._trust},
                    self._pen.clock(),
                )
            except BadMessage as error:
                # The agent has got it too, and keeps it in quarantine.
                self._refused = str(error)
            else:
                self._addressee.heard(received.sent_at)
                yield received.message

    def _silent(self) -> PeerSilent:
        return PeerSilent(
            f"{self._trust.sender} does not answer within "
            f"{self._deadline:.0f} s: "
            + (self._refused or "does its agent run?")
        )

    def _unreachable(self, error: Exception) -> PeerSilent:
        return PeerSilent(
            f"the broker of {self._trust.sender} cannot be reached: "
            f"{link.describe(error)}"
        )


def news(ledger: Ledger, claims: Sequence[Claim]) -> list[Claim]:
    """Returns those claims that would change what our ledger holds."""
    known = ledger.claims(claim.image for claim in claims)
    return [
        claim
        for claim in claims
        if claim.image not in known
        or join(known[claim.image], claim) != known[claim.image]
    ]
