"""What the API does: each question, answered from the ledger."""

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ec2map_sync.api import answers
from ec2map_sync.api.answers import image_of, moment
from ec2map_sync.api.faults import Crowded, Gone, Missing
from ec2map_sync.api.fleet import regions
from ec2map_sync.api.operations import MOST_AT_ONCE
from ec2map_sync.api.seen import Shared
from ec2map_sync.ledger.queries import Fed, Mapped, Move
from ec2map_sync.operate import mapping, status
from ec2map_sync.operate.mapping import Explanation
from ec2map_sync.region import Region
from ec2map_sync.rules.ec2id import MAX_NUMBER, format_id, parse_name
from ec2map_sync.rules.errors import BadId
from ec2map_sync.rules.stamps import earlier, wall_clock

FRESH = 1.0
"""Seconds for which all who ask how things are get one answer."""
NEWS_POLL = 0.25
"""Seconds between two looks of those who wait for news."""
EXPLAINING = 2
"""Explanations at a time: each may look through tables without an index."""
MOVES = 100
"""Moves that are told, at most."""
MOVES_FOR = timedelta(days=7).total_seconds()
"""Seconds for which a move is told."""

_DIGITS = re.compile(r"[0-9]{1,18}")

Asked = Mapping[str, Any]
"""Parameters of a question, read."""


class Lookups:
    """Answers questions about a region; a method for each operation.

    ``waiting`` is how many may wait for news at a time.
    """

    def __init__(self, region: Region, *, waiting: int) -> None:
        self._region = region
        self._queries = region.ledger.queries
        self._waiting = threading.Semaphore(waiting)
        self._explaining = threading.Semaphore(EXPLAINING)
        self._status = Shared(self._look, FRESH)
        self._regions = Shared(lambda: regions(region, wall_clock()), FRESH)

    def version(self, _asked: Asked) -> answers.VersionAnswer:
        """Says which version this is."""
        config = self._region.config
        return answers.VersionAnswer(
            id="v1.0",
            status="CURRENT",
            region=config.region,
            scheme=config.scheme.fingerprint,
            links=[
                {"rel": "self", "href": "/v1/"},
                {"rel": "describedby", "href": "/v1/openapi.json"},
            ],
        )

    def image(self, asked: Asked) -> answers.ImageAnswer:
        """Looks an image up, by either of its names."""
        return image_of(self._find(asked["name"]))

    def explanation(self, asked: Asked) -> answers.ExplanationAnswer:
        """Explains why an image has its id."""
        mapped = self._find(asked["name"])
        region = self._region
        with self._one_of_few(self._explaining):
            steps = Explanation(
                region.ledger, region.sinks, mapped, guests=region.guests
            ).steps()
        return answers.ExplanationAnswer(
            image=image_of(mapped),
            steps=[answers.StepAnswer(what=w, detail=d) for w, d in steps],
        )

    def images(self, asked: Asked) -> answers.PageAnswer:
        """Lists images as they have changed; waits for news if asked to."""
        after = self._begin(asked)
        limit = asked["limit"]
        found = self._queries.fed(after, limit)
        if not found and asked["wait"]:
            found = self._await(after, limit, asked["wait"])
        last = found[-1][0] if found else after
        cursor = f"{last.revision}.{last.number}"
        href = f"/v1/images?since={cursor}&limit={limit}"
        return answers.PageAnswer(
            images=[image_of(mapped) for _, mapped in found],
            next=cursor,
            links=[{"rel": "next", "href": href}]
            if len(found) == limit
            else [],
        )

    def lookup(self, asked: Asked) -> answers.LookupAnswer:
        """Looks many images up at once."""
        texts = _texts(asked["body"])
        names = {text: parse_name(text) for text in texts}
        found = self._find_all(names.values())
        lacking = [text for text in texts if names[text] not in found]
        moved = self._moved([(text, names[text]) for text in lacking])
        return answers.LookupAnswer(
            images=[image_of(found[n]) for n in names.values() if n in found],
            moved=list(moved.values()),
            unknown=[text for text in lacking if text not in moved],
        )

    def regions(self, _asked: Asked) -> answers.RegionsAnswer:
        """Says which region agrees with which."""
        return self._regions.get()

    def status(self, _asked: Asked) -> answers.StatusAnswer:
        """Says how this region is."""
        return self._status.get()

    def _find(self, text: str) -> Mapped:
        name = parse_name(text)
        found = None
        if isinstance(name, str) or name <= MAX_NUMBER:
            found = mapping.find(self._region.ledger, name)
        if found:
            return found
        here = self._region.config.region
        if isinstance(name, str):
            raise Missing(f"image {name} is not known in {here}")
        for moved in self._moved([(text, name)]).values():
            raise Gone(
                f"{text} was the id of image {moved.image}, which is "
                f"{moved.moved_to or 'without an id'} now",
                moved.image,
                moved.moved_to,
            )
        raise Missing(f"no image has the id {text.lower()} in {here}")

    def _find_all(self, names: Iterable[str | int]) -> dict[str | int, Mapped]:
        images = {name for name in names if isinstance(name, str)}
        numbers = {
            name
            for name in names
            if isinstance(name, int) and name <= MAX_NUMBER
        }
        found: dict[str | int, Mapped] = {}
        if images:
            by_image = self._queries.by_images(images)
            found |= {one.claim.image: one for one in by_image}
        if numbers:
            for one in self._queries.by_numbers(numbers):
                assert one.number is not None
                found[one.number] = one
        return found

    def _moved(
        self, lacking: Sequence[tuple[str, str | int]]
    ) -> dict[str, answers.MovedAnswer]:
        """Returns which ids were those of images that have others now."""
        texts = {
            number: text
            for text, number in lacking
            if isinstance(number, int) and number <= MAX_NUMBER
        }
        if not texts:
            return {}
        former = self._queries.former(texts)
        last = {number: images[0] for number, images in former.items()}
        now = {
            one.claim.image: one
            for one in self._queries.by_images(set(last.values()))
        }
        return {
            texts[number]: answers.MovedAnswer(
                ec2_id=texts[number],
                image=now[image].uuid,
                moved_to=now[image].ec2_id,
            )
            for number, image in last.items()
            if image in now
        }

    def _begin(self, asked: Asked) -> Fed:
        """Returns behind which place a page begins."""
        if asked["since"] is not None and asked["marker"] is not None:
            raise BadId("since and marker exclude each other")
        if asked["marker"] is not None:
            number = self._find(asked["marker"]).number
            place = None if number is None else self._queries.place_of(number)
            if place is None:
                raise Missing(f"marker {asked['marker']} has no id")
            return place
        if asked["since"] is None:
            return Fed(0)
        after = _cursor(asked["since"])
        if after.revision > self._region.ledger.head().revision:
            raise Gone(
                f"since={asked['since']} is ahead of this ledger, which was "
                "restored: begin again, without it"
            )
        return after

    def _await(
        self, after: Fed, limit: int, seconds: float
    ) -> list[tuple[Fed, Mapped]]:
        """Waits for news; not if too many wait already."""
        if not self._waiting.acquire(blocking=False):
            return []
        try:
            deadline = time.monotonic() + seconds
            found: list[tuple[Fed, Mapped]] = []
            while not found and (left := deadline - time.monotonic()) > 0:
                time.sleep(min(NEWS_POLL, left))
                found = self._queries.fed(after, limit)
            return found
        finally:
            self._waiting.release()

    @contextmanager
    def _one_of_few(self, few: threading.Semaphore) -> Iterator[None]:
        if not few.acquire(timeout=1):
            raise Crowded("others are being explained just now: ask again")
        try:
            yield
        finally:
            few.release()

    def _look(self) -> answers.StatusAnswer:
        lines = [
            answers.LineAnswer(
                **{
                    name: getattr(line, name)
                    for name in answers.LineAnswer.__slots__
                }
            )
            for line in status.lines(self._region, clock=wall_clock)
        ]
        now = wall_clock()
        moves = self._queries.moves_since(earlier(now, MOVES_FOR), MOVES)
        return answers.StatusAnswer(
            healthy=all(line.healthy for line in lines),
            lines=lines,
            moves=self._told(moves),
            at=moment(now) or "",
        )

    def _told(self, moves: Sequence[Move]) -> list[answers.MoveAnswer]:
        claims = self._region.ledger.claims({move.image for move in moves})

        def write(move: Move, number: int | None) -> str | None:
            claim = claims.get(move.image)
            if claim is None or number is None:
                return None if number is None else format_id(number)
            return claim.ec2_id(number)

        return [
            answers.MoveAnswer(
                at=moment(move.at) or "",
                image=move.image,
                old=write(move, move.old) or "",
                new=write(move, move.new),
                cause=move.cause,
            )
            for move in moves
        ]


def _texts(body: Any) -> list[str]:
    """Reads what is to be looked up, each once."""
    texts = body.get("images") if isinstance(body, dict) else None
    if not isinstance(texts, list) or not all(
        isinstance(text, str) for text in texts
    ):
        raise BadId('the body is not {"images": ["a UUID or EC2 id", …]}')
    if len(texts) > MOST_AT_ONCE:
        raise BadId(f"{len(texts)} images at once; it takes {MOST_AT_ONCE}")
    return list(dict.fromkeys(texts))


def _cursor(text: str) -> Fed:
    revision, dot, number = text.partition(".")
    parts = (revision, number) if dot else (revision,)
    if not all(_DIGITS.fullmatch(part) for part in parts):
        raise BadId(f"since={text[:40]!r} is no cursor, 'next' of an answer")
    return Fed(*map(int, parts))
