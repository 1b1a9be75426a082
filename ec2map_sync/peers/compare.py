"""Comparing two ledgers by ranges: what is asked, and what is answered.

Range-based set reconciliation (A. Meyer, "Range-Based Set Reconciliation",
SRDS 2023): prints of ranges are compared, those that differ are split, and
the claims of small ones are pulled. The reader drives it, one question at a
time, so nothing floods; whatever is cut off begins again from what is there.
"""

import logging
import uuid
from collections.abc import Callable, Sequence

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

FIRST_PATIENCE = 5.0
LONGEST_PATIENCE = 60.0
"""Seconds until a question without an answer is asked again."""


def answer(ledger: Ledger, question: messages.Compare) -> messages.Answer:
    """Answers a peer's question from our ledger."""
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
        self._pending = [span]
        self._asked: Sequence[Span] = ()
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
            self._put()
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
        self._asked = ()
        # As slow as this one may the next answer be: on a slow link, a
        # question that is repeated too soon makes all the others later.
        took = self._monotonic() - self._asked_at
        self._patience = min(max(FIRST_PATIENCE, 2 * took), LONGEST_PATIENCE)
        self._pending += reply.rest
        ours = self._ledger.prints_of([r.span for r in reply.ranges])
        self._pending += [
            theirs.span
            for theirs, own in zip(reply.ranges, ours, strict=True)
            if own != theirs.print
        ]
        self.step()
        return True

    def _check(self, reply: messages.Answer) -> None:
        """Makes sure that an answer leads on: else it would never end."""
        brought = reply.claims or reply.bad or reply.ranges
        if reply.rest and not brought:
            raise BadMessage("an answer that brings nothing")
        if len(self._pending) > PENDING:
            raise BadMessage("an answer that splits without an end")
        parts = [r.span for r in reply.ranges]
        for span in (*parts, *reply.rest):
            if not any(asked.holds(span) for asked in self._asked):
                raise BadMessage("an answer about ranges that were not asked")
        if any(part in self._asked for part in parts):
            raise BadMessage("an answer that splits nothing")

    def _ask(self) -> None:
        # From the end: first what was split last, so that the list stays
        # short however large the set.
        asked, self._pending = self._pending[-RANGES:], self._pending[:-RANGES]
        self._id = uuid.uuid4().hex
        self._asked = asked
        self.asked_at = self._monotonic()
        self._put()

    def _put(self) -> None:
        """Puts the question; again under the same id, if it had no answer.

        So an answer counts also if it is late.
        """
        prints = self._ledger.prints_of(self._asked)
        self._send(
            messages.Compare(
                id=self._id,
                ranges=tuple(
                    Range(span=span, print=own)
                    for span, own in zip(self._asked, prints, strict=True)
                ),
                reads=wire.DEFLATED,
            )
        )
        self._asked_at = self._monotonic()
