"""A region that is played, and its followers of the others.

Who compares what, and when, and what is answered, is the package's own
code, on `shelf.Shelf` instead of a ledger; messages have the size that they
have on the wire. What takes time takes as long as was measured.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from paper import CLAIM_BYTES, COSTS, size
from shelf import Run, Shelf

from ec2map_sync.ledger import Ledger
from ec2map_sync.peers import compare
from ec2map_sync.peers.agreement import Agreement
from ec2map_sync.peers.bus import PREFETCH
from ec2map_sync.peers.follower import MESSAGES_AT_ONCE
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import EVERYTHING, Span

if TYPE_CHECKING:
    from played_cloud import Cloud

QUEUE_BYTES = 256 * 1024 * 1024
"""What a broker keeps for a peer that is away."""

POLL = 0.5
"""Seconds between two looks at a slow link."""


class Server:
    """Whatever does one thing after the other."""

    def __init__(self) -> None:
        self.free = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Do what takes so long; when it is done."""
        self.free = max(now, self.free) + seconds
        return self.free


@dataclass(frozen=True)
class Beat:
    """A heartbeat, and how many of the sender's claims went before it."""

    place: int
    message: messages.Heartbeat


class Region:
    """One region: what it holds, and what takes time there."""

    def __init__(self, number: int, shelf: Shelf, access: float) -> None:
        self.number = number
        self.shelf = shelf
        # It has of a ledger what comparing uses, and no more.
        self.compared = cast(Ledger, shelf)
        self.access = access
        """Bytes per second that are left for catching up, in and out."""
        self.outward, self.inward = Server(), Server()
        self.ledger, self.answerer = Server(), Server()
        self.readers: dict[int, Reader] = {}


class Reader:
    """One region's follower of one peer: `peers.follower` in short.

    ``weight`` is how many pairs like this one it stands for. Where the link
    is ``slow``, each message waits its turn also when nothing is cut.
    """

    def __init__(
        self, cloud: "Cloud", own: Region, peer: Region, weight: int
    ) -> None:
        self.weight = weight
        self.down = False
        self.slow = False
        self.agrees = False
        self.pull: compare.Pull | None = None
        self._cloud, self._own, self._peer = cloud, own, peer
        self._agreement = Agreement(str(peer.number))
        self._front: int | None = None
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._unrecorded = 0

    # Heartbeats and compares, as the Follower does it

    def hear(self, beat: Beat) -> None:
        """Take in a heartbeat, or leave it in the queue for now."""
        if self.down or self._front is not None:
            self._waiting.append(
                (beat.place, lambda: self._judge(beat.message))
            )
            return
        self._judge(beat.message)

    def _judge(self, heartbeat: messages.Heartbeat) -> None:
        shelf = self._own.shelf
        own = shelf.print_before(heartbeat.until)
        total = shelf.print_of(EVERYTHING)
        agreed = self._agreement.judge(heartbeat, own, total)
        self.agrees = heartbeat.before == own
        if not agreed and self.pull is None:
            span = self._agreement.next_span(heartbeat)
            if span:
                self._begin(span)

    def _begin(self, span: Span) -> None:
        self.pull = compare.Pull(
            self._own.compared,
            self._ask,
            span=span,
            monotonic=lambda: self._cloud.now,
        )
        self._unrecorded = 0
        self.pull.step()

    def step(self) -> None:
        """Ask again what nobody has answered."""
        if self.pull and not self.down:
            self.pull.step()

    def _ask(self, question: messages.Compare) -> None:
        cloud, bytes_ = self._cloud, size(question)
        cloud.tally("questions", self.weight)
        cloud.tally("bytes asked", self.weight * bytes_)
        cloud.carry(
            self._own, self._peer, bytes_, lambda: self._arrive(question)
        )

    def _arrive(self, question: messages.Compare) -> None:
        """Be answered, after those who have asked before."""
        if self.down:
            return
        # A shelf makes no sketches: this is what comparing costs without.
        reply = compare.answer(self._peer.compared, replace(question, reads=1))
        counted = sum(r.print.count for r in question.ranges)
        work = (
            COSTS.message
            + counted * COSTS.counted
            + len(reply.claims) * COSTS.answered
        )
        done = self._peer.answerer.serve(self._cloud.now, work)
        self._cloud.at(done, lambda: self._send_back(reply))

    def _send_back(self, reply: messages.Answer) -> None:
        cloud, peer = self._cloud, self._peer
        empty = replace(reply, claims=())
        bytes_ = size(empty) + len(reply.claims) * CLAIM_BYTES
        cloud.tally("answers", self.weight)
        cloud.tally("bytes answered", self.weight * bytes_)
        cloud.tally("claims in answers", self.weight * len(reply.claims))
        cloud.carry(peer, self._own, bytes_, lambda: self._queue(reply))

    def _queue(self, reply: messages.Answer) -> None:
        """Leave an answer behind the claims that wait in the same queue."""
        if self.down or self._front is None:
            self._answered(reply)
            return
        place = self._cloud.place(self._peer)
        self._waiting.append((place, lambda: self._answered(reply)))

    def _answered(self, reply: messages.Answer) -> None:
        pull = self.pull
        if self.down or pull is None or not pull.take(reply):
            return
        self._unrecorded += 1
        work = COSTS.transaction + len(reply.claims) * COSTS.claim
        done = self._own.ledger.serve(self._cloud.now, work)
        self._cloud.at(done, lambda: self._recorded(pull, reply))

    def _recorded(self, pull: compare.Pull, reply: messages.Answer) -> None:
        for run in set(cast(tuple[Run, ...], reply.claims)):
            pull.found += self._own.shelf.fill(run.origin, run.start, run.stop)
        if pull is not self.pull:
            return
        self._unrecorded -= 1
        if pull.complete and not self._unrecorded:
            self.pull = None
            self._agreement.compared(pull)

    # The link

    def cut(self) -> None:
        """Lose the peer's broker: what comes there waits."""
        self.down = True
        self.agrees = False
        self.pull = None
        if self._front is None:
            self._front = self._own.shelf.freeze(self._peer.number)

    def heal(self) -> None:
        """Reach it again: compare, and read what has waited."""
        self.down = False
        self._agreement.greet()
        self._begin(EVERYTHING)
        self._drain()

    def _drain(self) -> None:
        cloud, front = self._cloud, self._front
        if self.down or front is None:
            return
        feed, newest = cloud.feeds[self._peer.number], cloud.place(self._peer)
        front = self._without_dropped(front, newest)
        if front >= self._own.shelf.due(self._peer.number):
            self._caught_up()
            return
        stop = feed.after(front, PREFETCH, newest)
        size = feed.bytes(front, stop)
        cloud.tally("bytes queued", size)
        cloud.backlog = max(cloud.backlog, feed.bytes(front, newest))
        cloud.carry(
            self._peer, self._own, size, lambda: self._record(front, stop)
        )

    def _record(self, front: int, stop: int) -> None:
        taken = self._cloud.feeds[self._peer.number].messages(front, stop)
        work = COSTS.transaction * -(
            -taken // MESSAGES_AT_ONCE
        ) + COSTS.claim * (stop - front)
        done = self._own.ledger.serve(self._cloud.now, work)
        self._cloud.at(done, lambda: self._drained(front, stop))

    def _without_dropped(self, front: int, newest: int) -> int:
        feed = self._cloud.feeds[self._peer.number]
        over = feed.bytes(front, newest) - QUEUE_BYTES
        if over <= 0:
            return front
        kept = feed.after_bytes(front, over)
        self._cloud.tally("claims dropped", kept - front)
        self._front = kept
        return kept

    def _drained(self, front: int, stop: int) -> None:
        self._own.shelf.fill(self._peer.number, front, stop)
        self._front = stop
        self._look_at_waiting(stop)
        self._drain()

    def _look_at_waiting(self, stop: int) -> None:
        """Take in what lay in the queue between the claims, up to there."""
        past = [act for place, act in self._waiting if place <= stop]
        self._waiting = self._waiting[len(past) :]
        if not self.down:
            for act in past:
                act()

    def slow_down(self) -> None:
        """Have each message wait until the link is free."""
        self.slow = True
        self._front = self._own.shelf.freeze(self._peer.number)
        self._drain()

    def _caught_up(self) -> None:
        if self.slow:
            self._cloud.at(self._cloud.now + POLL, self._drain)
        else:
            self._own.shelf.thaw(self._peer.number)
            self._front = None
        self._look_at_waiting(self._cloud.place(self._peer))
