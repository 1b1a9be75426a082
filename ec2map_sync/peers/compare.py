"""Comparing two ledgers by ranges: what is asked, and what is answered.

Range-based set reconciliation (A. Meyer, "Range-Based Set Reconciliation",
SRDS 2023): prints of ranges are compared, those that differ are split, and
the claims of small ones are pulled. Where a sketch of what is left is shorter
than that, one is asked with. The reader drives it, one question at a time, so
nothing floods; whatever is cut off begins again from what is there.
"""

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile

from ec2map_sync.ledger import Ledger
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import (
    EVERYTHING,
    Bound,
    Claim,
    Range,
    Span,
)
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.sketches import Shape, Sketch

LOG = logging.getLogger(__name__)

SMALL = 32
"""Claims in a range that are sent rather than split once more: splitting
costs about as many bytes."""

PAGE = 5000
"""Claims in one answer: 600 KB."""

RANGES = 32
"""Ranges in one question, each of which may be split into as many."""

PENDING = 100_000
"""Spans that may wait to be asked about. Ledgers that differ everywhere need
a thousand for each level of splitting, and some twenty levels."""

MOST_DIFFERENCES = PAGE
"""Differences that one sketch is made for."""

MOST_SKETCHED = 4_000_000
"""Claims of ours that one sketch is made of. A database reads all of them, in
two microseconds each here, and is not waited for longer than a minute."""

FAILURES = 3
"""Sketches that may be too small for a span before it is split."""

BUCKETS_OF_A_CLAIM = 4
"""A claim takes as many bytes in an answer."""

FIRST_PATIENCE = 5.0
LONGEST_PATIENCE = 60.0
"""Seconds until a question without an answer is asked again."""


def answer(ledger: Ledger, question: messages.Compare) -> messages.Answer:
    """Answers a peer's question from our ledger."""
    if question.sketch:
        return _answer_to_sketch(ledger, question, question.sketch)
    claims: list[Claim] = []
    ranges: list[Range] = []
    rest: list[Span] = []
    # One claim more than matters below, and not all that a newcomer lacks,
    # over and over: for each page, the rest would be counted again.
    prints = ledger.prints_of(
        [asked.span for asked in question.ranges],
        [2 * asked.print.count + SMALL + 1 for asked in question.ranges],
    )
    for asked, own in zip(question.ranges, prints, strict=True):
        room = PAGE - len(claims)
        if own == asked.print:
            continue
        if room <= 0:
            rest.append(asked.span)
            continue
        # Also what the asker hardly has anything of is not worth a search.
        if own.count > SMALL and asked.print.count * 2 >= own.count:
            parts = ledger.split(asked.span)
            if len(parts) > 1:
                ranges += parts
                continue
        page = ledger.page(asked.span, room)
        claims += page
        if len(page) == room:
            last = page[-1].bound
            # No image sorts between a UUID and the same with one more digit.
            after = Bound(last.at, last.image + "0")
            rest.append(Span(after, asked.span.stop))
    return messages.Answer(
        id=question.id,
        ranges=tuple(ranges),
        claims=tuple(claims),
        rest=tuple(rest),
        reads=_reads(question),
    )


def _answer_to_sketch(
    ledger: Ledger, question: messages.Compare, sketch: Sketch
) -> messages.Answer:
    """Answers with what is missing there, or by how much too much that is."""
    spans = [asked.span for asked in question.ranges]
    difference = ledger.sketch_of(spans, sketch.shape) - sketch
    peeled = difference.peel()
    missing = peeled[0] if peeled else set()
    claims = ledger.hashed(spans, missing)
    if peeled is None or len(claims) < len(missing):
        return messages.Answer(
            id=question.id,
            differences=difference.differences,
            reads=_reads(question),
        )
    return messages.Answer(
        id=question.id,
        claims=tuple(claims[:PAGE]),
        rest=tuple(spans if len(claims) > PAGE else ()),
        reads=_reads(question),
    )


def _reads(question: messages.Compare) -> int:
    """Returns what to say that we read: nothing to releases of before."""
    return min(question.reads, wire.DEFLATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A span to be asked about, and what is known of it."""

    span: Span
    held: int = 0
    """Claims that we hold there."""
    differences: int = 0
    """By how many the two ledgers differ there, at least."""
    failures: int = 0
    """Sketches that were too small for that."""

    @property
    def is_sketched(self) -> bool:
        """Whether a sketch may be shorter than splitting it, or all of it."""
        return (
            0 < self.differences <= MOST_DIFFERENCES
            and 2 * self.differences < self.held <= MOST_SKETCHED
            and self.failures < FAILURES
        )


class Pull:
    """Fetches from one peer what it has and we have not, in some span.

    Lives in the reader's memory: cut short, it begins anew, and what was
    pulled before is then equal and costs nothing.
    """

    def __init__(
        self,
        ledger: Ledger,
        send: Callable[[messages.Compare], None],
        *,
        span: Span,
        monotonic: Callable[[], float],
    ) -> None:
        self.span = span
        self.found = 0
        """Claims that were news here so far."""
        self.refused = 0
        """Claims, or groups of them, that were not taken in."""
        self.asked_at = 0.0
        """When it first put the question that is put now, or was last."""
        self._ledger = ledger
        self._send = send
        self._monotonic = monotonic
        self._patience = FIRST_PATIENCE
        self._pending = [_Part(span=span)]
        self._asked: Sequence[_Part] = ()
        self._shape: Shape | None = None
        """That of the sketch that was asked with."""
        self._reads = wire.VERSION
        """The newest version that the peer can read, as far as we know."""
        self._id = ""
        self._asked_at = 0.0

    @property
    def complete(self) -> bool:
        """Whether everything was asked and answered."""
        return not self._pending and not self._asked

    @property
    def everything(self) -> bool:
        """Whether it is about the whole set."""
        return self.span == EVERYTHING

    def step(self) -> None:
        """Asks what is next, or again what nobody answered."""
        if self._asked:
            if self._monotonic() - self._asked_at < self._patience:
                return
            self._patience = min(2 * self._patience, LONGEST_PATIENCE)
            self._put(None)  # another host there may be of a release before
        elif self._pending:
            self._ask()

    def hurry(self) -> None:
        """Loses patience with what was asked while we could not hear."""
        self._patience = FIRST_PATIENCE

    def take(self, reply: messages.Answer) -> bool:
        """Notes an answer; False if it is to none of our questions.

        The next question goes out before the claims are recorded, so that
        the peer works meanwhile.

        :raises BadMessage: the answer speaks of what was not asked.
        """
        if not self._asked or reply.id != self._id:
            return False
        self._check(reply)
        asked, self._asked = self._asked, ()
        self._reads = reply.reads
        # As slow as this one may the next answer be: on a slow link, a
        # question that is repeated too soon makes all the others later.
        took = self._monotonic() - self._asked_at
        self._patience = min(max(FIRST_PATIENCE, 2 * took), LONGEST_PATIENCE)
        self._pending += [_Part(span=span) for span in reply.rest]
        self._pending += self._differing(reply.ranges)
        if reply.differences:
            self._pending += _failed(asked, reply.differences)
        self.step()
        return True

    def _differing(self, theirs: Sequence[Range]) -> list[_Part]:
        ours = self._ledger.prints_of([part.span for part in theirs])
        return [
            _Part(
                span=part.span,
                held=own.count,
                differences=max(abs(part.print.count - own.count), 1),
            )
            for part, own in zip(theirs, ours, strict=True)
            if own != part.print
        ]

    def _check(self, reply: messages.Answer) -> None:
        """Makes sure that an answer leads on: else it would never end."""
        brought = reply.claims or reply.bad or reply.ranges
        if reply.differences and (not self._shape or brought or reply.rest):
            raise BadMessage("an answer to a sketch that was not asked for")
        if reply.rest and not brought:
            raise BadMessage("an answer that brings nothing")
        if len(self._pending) > PENDING:
            raise BadMessage("an answer that splits without an end")
        parts = [r.span for r in reply.ranges]
        spans = [part.span for part in self._asked]
        for span in (*parts, *reply.rest):
            if not any(asked.holds(span) for asked in spans):
                raise BadMessage("an answer about ranges that were not asked")
        if any(part in spans for part in parts):
            raise BadMessage("an answer that splits nothing")

    def _ask(self) -> None:
        # From the end: first what was split last, so that the list stays
        # short however large the set.
        some = self._pending[-RANGES:]
        self._shape, self._asked = self._choose(some)
        del self._pending[-len(self._asked) :]
        self._id = uuid.uuid4().hex
        self.asked_at = self._monotonic()
        self._put(self._shape)

    def _choose(self, some: list[_Part]) -> tuple[Shape | None, list[_Part]]:
        """Returns which of the last parts to ask about, and how."""
        if self._reads < wire.DEFLATED:
            return None, some
        sketched = some[-1].is_sketched
        some = list(takewhile(lambda p: p.is_sketched == sketched, some[::-1]))
        if not sketched:
            return None, some
        some = some[: min(_fitting(some))]
        differences = sum(part.differences for part in some)
        claims = differences + sum(part.held for part in some)
        shape = Shape.draw(differences)
        pays = shape.buckets < BUCKETS_OF_A_CLAIM * claims
        return (shape if pays else None), some

    def _put(self, shape: Shape | None) -> None:
        """Puts the question; again under the same id, if it had no answer.

        So an answer counts also if it is late.
        """
        spans = [part.span for part in self._asked]
        prints = self._ledger.prints_of(spans)
        self._send(
            messages.Compare(
                id=self._id,
                ranges=tuple(
                    Range(span=span, print=own)
                    for span, own in zip(spans, prints, strict=True)
                ),
                reads=wire.DEFLATED,
                sketch=self._ledger.sketch_of(spans, shape) if shape else None,
            )
        )
        self._asked_at = self._monotonic()


def _fitting(parts: Sequence[_Part]) -> Iterator[int]:
    """Returns how many of the first parts each bound lets into a sketch."""
    for bound, amounts in (
        (MOST_DIFFERENCES, [part.differences for part in parts]),
        (MOST_SKETCHED, [part.held for part in parts]),
    ):
        yield sum(total <= bound for total in accumulate(amounts))


def _failed(parts: Sequence[_Part], differences: int) -> list[_Part]:
    """Returns what is known of parts after a sketch was too small for them."""
    guessed = sum(part.differences for part in parts)
    # What is told of them may be too little, by a tenth or two.
    more = max(differences * 5 // 4, guessed)
    return [
        replace(
            part,
            differences=-(-part.differences * more // guessed),
            failures=part.failures + 1,
        )
        for part in parts
    ]
