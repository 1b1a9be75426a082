"""The Follower: hears one peer, records what it claims, compares with it."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from kombu.message import Message

from ec2map_sync.broker.link import body_of
from ec2map_sync.ledger import Allowance, Ledger, PeerState, Quarantined
from ec2map_sync.peers.addressee import Addressee
from ec2map_sync.peers.agreement import Agreement
from ec2map_sync.peers.bus import Inlet
from ec2map_sync.peers.compare import Pull
from ec2map_sync.peers.echoes import Echoes
from ec2map_sync.peers.intake import Intake, Taken
from ec2map_sync.peers.refusals import Refusals
from ec2map_sync.peers.throttle import KNOWN, REFUSED, Throttle
from ec2map_sync.peers.witness import Witness
from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.notes import BadNote
from ec2map_sync.protocol.seen import as_told_to, seen_to_json
from ec2map_sync.rules.claims import (
    EVERYTHING,
    Claim,
    Span,
    Stamp,
)
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.names import source_of
from ec2map_sync.running import counters

LOG = logging.getLogger(__name__)

MESSAGES_AT_ONCE = 20
"""Messages recorded in one transaction: up to 10,000 claims."""

ASK_AGAIN = 30.0
"""Seconds, at least, between two questions to a peer whose heartbeats are old
or whose clock is wrong: which of these it is, only an answer tells."""

PROVEN_FOR = 90.0
"""Seconds after a question within which heartbeats that come behind its
answer are new, whatever time they bear: messages keep their order."""

REFUSED_PAUSE = 60.0
"""Seconds after a pull of which something was refused: it would bring the
same again, and we should refuse it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """A heartbeat, and what is known of its time."""

    heartbeat: messages.Heartbeat
    at: Stamp
    sent_at: Stamp
    clock: str | None
    """What is wrong with the peer's clock, unless the heartbeat is old."""
    new: bool
    """Whether the peer has said it just now, and not before."""

    @property
    def times(self) -> dict[str, int | str | None]:
        """What to remember: a heartbeat is as old as it is.

        Of one that may be old and bears a time to come, nothing is known.
        """
        if self.new:
            return {"received_at": self.at, "sent_at": self.sent_at}
        if self.sent_at > self.at:
            return {}
        return {"received_at": self.sent_at, "sent_at": self.sent_at}


class Follower:
    """Reads our queue on a peer's broker, a batch to a transaction.

    Messages are acknowledged after their claims are committed: a crash
    between the two brings them again, and joining twice changes nothing.
    """

    def __init__(
        self,
        ledger: Ledger,
        inlet: Inlet,
        peer: wire.Trust,
        pen: wire.Pen,
        *,
        recorded: Callable[[], None],
        patience: float,
        max_moves: int,
        max_evictions: int,
        monotonic: Callable[[], float] = time.monotonic,
        throttle: Throttle | None = None,
    ) -> None:
        self._ledger = ledger
        self._inlet = inlet
        self._peer = peer
        self._pen = pen
        self._recorded = recorded
        self._patience = patience
        self._monotonic = monotonic
        self._agreement = Agreement(peer.sender)
        self._witness = Witness(ledger, peer, pen.region, pen.clock)
        self._addressee = Addressee(peer.sender, pen.clock, monotonic)
        self._pull: Pull | None = None
        self._greeted = False
        self._heard = False
        self._clock_said = False
        self._rests_until = self._ask_at = self._proven_at = float("-inf")
        self._refusals = Refusals(ledger, f"of {peer.sender}", monotonic)
        self._refused: list[Quarantined] = []
        allowance = Allowance(
            peer=peer.sender,
            max_moves=max_moves,
            max_evictions=max_evictions,
        )
        self._intake = Intake(ledger, self._refusals, allowance, monotonic)
        self._throttle = throttle or Throttle()
        self._echoes = Echoes(
            ledger, region=pen.region, peer=peer.sender, clock=pen.clock
        )

    def step(self) -> bool:
        """Takes in what has come; waits a little if nothing has."""
        if self._throttle.rest(self._patience):
            return True
        if not self._greeted:
            self._agreement.greet()
            self._begin(EVERYTHING)
            self._greeted = True
        arrived = self._inlet.read(MESSAGES_AT_ONCE, self._patience)
        if arrived:
            if self._pull and not self._heard:
                # Until now, another host of ours has got the answers.
                self._pull.hurry()
            self._heard = True
            self._throttle.spend(lambda: self._take(arrived))
            self._inlet.acknowledge(arrived)
        if self._pull:
            self._pull.step()
        return True

    def reset(self) -> None:
        """Begins anew with a new connection; a pull cut short never counts."""
        self._inlet.close()
        self._pull = None
        self._greeted = self._heard = False
        self._ask_at = self._proven_at = float("-inf")

    def _take(self, arrived: Sequence[Message]) -> float:
        """Takes in messages; how long to rest for each second it took."""
        batches: list[Sequence[Claim]] = []
        heard: _Heard | None = None
        leads_on = False
        self._refused = []
        for message in arrived:
            body = body_of(message)
            try:
                received = self._decode(message, body)
                self._addressee.heard(received.sent_at)
                leads_on |= self._sort(received.message, batches)
            except BadMessage as error:
                self._refuse(str(error), body, message.headers or {})
            else:
                if isinstance(received.message, messages.Heartbeat):
                    heard = self._judge_time(
                        received.message, received.sent_at
                    )
        taken = self._record(batches)
        if taken.news:
            first = next(chain.from_iterable(batches))
            counters.PEER_DELAY.since(first.newest, self._peer.sender)
        if heard:
            self._hear(heard)
        self._refusals.put_away(self._refused)
        if self._refused or taken.held:
            return REFUSED
        # One heartbeat is: of many that come together, the last one counts.
        of_use = leads_on or taken.news or (heard and len(arrived) == 1)
        return 0 if of_use else KNOWN

    def _decode(self, message: Message, body: bytes) -> wire.Received:
        trusted = {self._peer.sender: self._peer}
        return wire.decode(
            message.headers or {}, body, trusted, self._pen.clock()
        )

    def _sort(
        self, message: messages.Message, batches: list[Sequence[Claim]]
    ) -> bool:
        """Takes in what a message is; whether it is an answer of use."""
        match message:
            case messages.Claims(claims=good, bad=bad):
                batches.append(good)
                self._refuse_each(bad)
            case messages.Heartbeat():
                # The last one counts, after all claims; but each note.
                self._witness_note(message)
            case messages.Answer() as reply:
                return self._answered(reply)
            case _:
                raise BadMessage("a question, where only answers belong")
        return False

    def _witness_note(self, heartbeat: messages.Heartbeat) -> None:
        try:
            self._witness.hear(heartbeat.note, heartbeat.statement)
        except BadNote as error:
            reason = f"what it has signed is refused: {error}"
            said = f"{heartbeat.statement}\n{heartbeat.note}"
            self._refuse(reason, said.encode())

    def _record(self, batches: Sequence[Sequence[Claim]]) -> Taken:
        taken = self._intake.take(batches)
        if taken.news:
            self._recorded()
            counters.CLAIMS.add(taken.news, "peers")
            self._echoes.recorded(chain.from_iterable(batches))
        return taken

    def _judge_time(
        self, heartbeat: messages.Heartbeat, sent_at: Stamp
    ) -> _Heard:
        now = self._pen.clock()
        state = PeerState(
            name=self._peer.sender, sent_at=sent_at, received_at=now
        )
        proven = self._monotonic() - self._proven_at < PROVEN_FOR
        return _Heard(
            heartbeat=heartbeat,
            at=now,
            sent_at=sent_at,
            clock=state.clock,
            new=proven or state.clock is None,
        )

    def _hear(self, heard: _Heard) -> None:
        heartbeat = heard.heartbeat
        head, own = self._ledger.print_before(heartbeat.until)
        sound = not self._ledger.copies.state().doubtful
        agreed = self._agreement.judge(heartbeat, own, head.total, sound=sound)
        fields = heard.times
        if heard.new or heartbeat.before != own:
            fields |= self._agreement.fields(heartbeat, own, heard.at)
        if heard.new:
            self._look_at_clock(heard.clock)
            kept = as_told_to(self._pen.region, heartbeat.sees)
            fields["sees"] = json.dumps(seen_to_json(kept))
            self._echoes.heard(heartbeat)
        self._ledger.journal.note_peer(
            self._peer.sender,
            total=heartbeat.total.count,
            newest=heartbeat.newest,
            **fields,
        )
        if self._pull or self._monotonic() < self._rests_until:
            return
        span = None if agreed else self._agreement.next_span(heartbeat)
        if not span and heard.clock and self._monotonic() >= self._ask_at:
            if agreed:
                self._agreement.greet()
            span = EVERYTHING
        if span:
            self._begin(span)

    def _look_at_clock(self, wrong: str | None) -> None:
        """Says once that a clock is wrong, or right again.

        Nothing depends on it: stamps come after all that was heard of.
        """
        if wrong and not self._clock_said:
            LOG.warning("%s: %s", self._peer.sender, wrong)
        elif self._clock_said and not wrong:
            LOG.info("%s: its clock and ours agree again", self._peer.sender)
        self._clock_said = bool(wrong)

    def _begin(self, span: Span) -> None:
        if span == EVERYTHING:
            self._ask_at = self._monotonic() + ASK_AGAIN
        self._pull = Pull(
            self._ledger, self._ask, span=span, monotonic=self._monotonic
        )
        self._pull.step()

    def _ask(self, question: messages.Compare) -> None:
        addressed = self._addressee.address(question)
        self._inlet.ask(*wire.encode(addressed, self._pen, question.version))

    def _answered(self, reply: messages.Answer) -> bool:
        """Takes in an answer; whether it leads on with what is asked."""
        pull = self._pull
        asked_at = pull.asked_at if pull else 0.0
        if pull is None or not pull.take(reply):
            return False  # to another host's, or a command's, or long ago
        self._proven_at = asked_at
        taken = self._record([reply.claims])
        self._refuse_each(reply.bad)
        pull.found += taken.news
        pull.refused += taken.held + sum(one.count for one in reply.bad)
        if pull.complete:
            self._pull = None
            self._end(pull)
        return taken.news > 0 or not reply.claims

    def _end(self, pull: Pull) -> None:
        """Notes what a complete pull has brought."""
        counters.COMPARES.add(1, self._peer.sender)
        counters.COMPARE_FOUND.add(pull.found, self._peer.sender)
        fields = {"missing_here": pull.found + pull.refused}
        if pull.refused:
            # We still lack it: nothing is agreed upon, nor barren.
            self._rests_until = self._monotonic() + REFUSED_PAUSE
        elif pull.everything:
            fields["compared_at"] = self._pen.clock()
        self._agreement.compared(pull)
        self._ledger.journal.note_peer(self._peer.sender, **fields)
        if pull.found and pull.everything:
            LOG.info(
                "compared with %s: %d claims were missing or older here",
                self._peer.sender,
                pull.found,
            )

    @property
    def _source(self) -> str:
        return source_of(self._peer.sender)

    def _refuse_each(self, bad: Sequence[messages.BadClaim]) -> None:
        for one in bad:
            self._refuse(one.reason, one.body)

    def _refuse(
        self, reason: str, body: bytes, headers: wire.Headers | None = None
    ) -> None:
        self._refused.append(
            Quarantined(
                source=self._source, reason=reason, body=body, headers=headers
            )
        )
