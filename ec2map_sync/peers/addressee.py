"""Whom a question is for: said in it, with a time limit, and looked at."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b

from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import BadMessage

TIME_LIMIT = 60_000_000
"""Microseconds: as long as a question may wait in its queue."""

LONGEST_LIMIT = 2 * TIME_LIMIT
"""Microseconds: who asks may misjudge our clock."""


class Addressee:
    """A peer that is asked.

    Its clock may be hours from ours: what it says bears its time, from which
    the limit of a question is reckoned.
    """

    def __init__(
        self,
        region: str,
        clock: Callable[[], Stamp],
        monotonic: Callable[[], float],
    ) -> None:
        self._region = region
        self._clock = clock
        self._monotonic = monotonic
        self._heard: tuple[Stamp, float] | None = None

    def heard(self, sent_at: Stamp) -> None:
        """Notes when a message that comes now was sent, by its own clock."""
        self._heard = sent_at, self._monotonic()

    def address(self, question: messages.Compare) -> messages.Compare:
        """Returns the question with whom it is for, and until when."""
        now = self._clock()
        if self._heard:
            sent_at, at = self._heard
            now = sent_at + int(1_000_000 * (self._monotonic() - at))
        return replace(question, to=self._region, until=now + TIME_LIMIT)


class Answered:
    """Knows which questions are for us, and which were answered."""

    def __init__(
        self, pen: wire.Pen, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._pen = pen
        self._monotonic = monotonic
        # The oldest first: who asks a lot lets us look through no long list.
        self._known = OrderedDict[tuple[str, Stamp, bytes], float]()

    def checked(self, received: wire.Received) -> messages.Compare:
        """Returns the question that a message is.

        :raises BadMessage: it is none, somebody else's, or of another time.
        """
        question = received.message
        if not isinstance(question, messages.Compare):
            raise BadMessage("no question, where only questions belong")
        if question.to not in {"", self._pen.region}:
            raise BadMessage(f"a question to {question.to[:40]!r}, not to us")
        now = self._pen.clock()
        until = question.until or received.sent_at + TIME_LIMIT
        if not now <= until <= now + LONGEST_LIMIT:
            raise BadMessage(
                f"a question of {received.sender} that was to be answered "
                f"until {until}, at {now}: it is old, or a clock is wrong"
            )
        return question

    def knows(self, received: wire.Received, body: bytes) -> bool:
        """Returns whether this very message was answered already.

        Who has had no answer asks again in another one.
        """
        oldest = self._monotonic() - LONGEST_LIMIT / 1_000_000
        while self._known and next(iter(self._known.values())) < oldest:
            self._known.popitem(last=False)
        return _key(received, body) in self._known

    def note(self, received: wire.Received, body: bytes) -> None:
        """Notes that a message has got its answer."""
        self._known[_key(received, body)] = self._monotonic()


def _key(received: wire.Received, body: bytes) -> tuple[str, Stamp, bytes]:
    """Returns what tells messages apart: what is signed, not signatures."""
    return received.sender, received.sent_at, blake2b(body).digest()
