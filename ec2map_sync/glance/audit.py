"""The audit against Glance: claims for images that nobody told us of."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from ec2map_sync.glance.catalogue import Catalogue, Image
from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import (
    Believe,
    Sighting,
    believe_none,
    claim_of,
    sighting_of,
)
from ec2map_sync.rules.errors import BadId
from ec2map_sync.rules.stamps import time_of, wall_clock
from ec2map_sync.running import counters

LOG = logging.getLogger(__name__)

IMAGES_AT_ONCE = 500
"""Images recorded in one transaction of the ledger."""

OVERLAP = timedelta(seconds=60)
"""How far each look goes back behind the last one: several Glance servers
write their own clocks' seconds, and some time before they commit."""

LATE = timedelta(seconds=5)
"""How old a change is of which a notification should have told by now."""

_BEGINNING = "1970-01-01T00:00:00Z"


class Survey:
    """Every image of Glance once, or those that were changed since.

    Where an outage cuts it off, it goes on. What is changed in Glance while
    it lasts may be left out; a survey of the changes since `mark` has it.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        updated_since: str | None = None,
        believe: Believe = believe_none,
    ) -> None:
        self._catalogue = catalogue
        self._believe = believe
        self._updated_since = updated_since
        self._lists = [False, True]
        self._created_since: str | None = None
        self._images: Iterator[Image] | None = None
        self._marked = False
        self.everything = updated_since is None
        self.mark: str | None = None
        """Where a survey of the changes since this one has to begin."""
        self.seen = 0
        self.claimed = 0
        self.untold = 0
        """Images of which no notification has told, though it should have."""
        self.unusable: list[str] = []

    def batch(self, size: int = IMAGES_AT_ONCE) -> list[Image]:
        """Returns the next images; none at the end.

        They come again after `cut_off`, unless they are `done`.
        """
        if not self._marked:
            self.mark = self._present()
            self._marked = True
        while self._lists:
            if self._images is None:
                self._images = self._catalogue.images(
                    hidden=self._lists[0],
                    created_since=self._created_since,
                    updated_since=self._updated_since,
                )
            images = list(islice(self._images, size))
            if images:
                return images
            self._lists.pop(0)
            self._created_since = self._images = None
        return []

    def _present(self) -> str | None:
        """Returns the newest change in Glance, less OVERLAP.

        An image may say that it is changed in ten days. What is changed
        from now on is marked by the clocks of now, whose earlier one counts.
        """
        newest = self._catalogue.newest_update()
        if newest is None:
            return None
        moments = [datetime.fromisoformat(newest), time_of(wall_clock())]
        if self._catalogue.told_at:
            moments.append(self._catalogue.told_at)
        return (min(moments) - OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ")

    def done(self, images: Sequence[Image], claimed: int) -> None:
        """Notes that a batch has taken effect."""
        if images:
            self._created_since = images[-1].created_at
            self.seen += len(images)
            self.claimed += claimed

    def cut_off(self) -> None:
        """Begins the next batch with a new request, from where we are."""
        self._images = None

    def sightings(self, images: Sequence[Image]) -> Sequence[Sighting]:
        """Returns what we see in a batch, and remember what is no image."""
        found = []
        for image in images:
            try:
                sighting = sighting_of(
                    image.uuid,
                    container_format=image.container_format,
                    ec2_id=image.ec2_id,
                    fills_only=True,
                )
            except BadId:
                self.unusable.append(image.uuid)
            else:
                found.append(sighting)
        return self._believe(found)


def news(ledger: Ledger, sightings: Sequence[Sighting]) -> int:
    """Returns how many images the ledger would have something new of."""
    known = ledger.claims({s.image for s in sightings})
    return len(
        {s.image for s in sightings if claim_of(s, known.get(s.image), 0)}
    )


class Auditor:
    """Claims what Glance has and the ledger does not know.

    It looks through all images now and then, and more often at what has
    changed. A step is a batch, so that stopping is soon.
    """

    def __init__(
        self,
        ledger: Ledger,
        catalogue: Catalogue,
        *,
        recorded: Callable[[], None],
        remark: Callable[[str], None] = lambda _text: None,
        audit_interval: float,
        poll_interval: float,
        believe: Believe = believe_none,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._recorded = recorded
        self._remark = remark
        self._audit_interval = audit_interval
        self._poll_interval = poll_interval
        self._believe = believe
        self._monotonic = monotonic
        self._survey: Survey | None = None
        self._mark: str | None = None
        self._looked = False
        self._audit_at = self._poll_at = float("-inf")

    def step(self) -> bool:
        """Looks at a batch of images; True if there are more."""
        survey = self._survey = self._survey or self._due()
        if survey is None:
            return False
        images = survey.batch()
        before = wall_clock()
        found = self._ledger.see(survey.sightings(images)).news
        survey.done(images, found)
        if found:
            survey.untold += self._untold(images, before)
            self._recorded()
            counters.CLAIMS.add(found, "audit")
        if not images:
            self._end(survey)
        return bool(images)

    def _untold(self, images: Sequence[Image], before: int) -> int:
        """Counts those that were claimed just now, and changed long ago."""
        if not self._looked:
            return 0  # our first look: most are older than we are
        until = (self._catalogue.told_at or time_of(wall_clock())) - LATE
        late = {
            image.uuid.lower()
            for image in images
            if image.updated_at
            and datetime.fromisoformat(image.updated_at) < until
        }
        claims = self._ledger.claims(late).values()
        return sum(claim.claimed_at >= before for claim in claims)

    def reset(self) -> None:
        """Connects anew; the audit goes on where it was."""
        self._catalogue.close()
        if self._survey:
            self._survey.cut_off()

    def _due(self) -> Survey | None:
        now = self._monotonic()
        if now >= self._audit_at:
            self._audit_at = now + self._audit_interval
            self._poll_at = now + self._poll_interval
            return Survey(self._catalogue, believe=self._believe)
        if now >= self._poll_at:
            self._poll_at = now + self._poll_interval
            since = self._mark or _BEGINNING
            return Survey(
                self._catalogue, updated_since=since, believe=self._believe
            )
        return None

    def _end(self, survey: Survey) -> None:
        self._survey = None
        self._mark = survey.mark
        self._looked = True
        if survey.everything or survey.claimed:
            LOG.info(
                "audit of Glance: %d images%s, %d of them were news",
                survey.seen,
                "" if survey.everything else " changed lately",
                survey.claimed,
            )
        if survey.untold:
            text = (
                f"{survey.untold} images of Glance were found of which no "
                "notification has told so far: a policy of its broker, a "
                "transient queue, or an outage may have taken it"
            )
            LOG.warning(
                "%s; see 'ec2map-sync config check', with "
                "[notifications] management_url",
                text,
            )
            self._remark(text)
        if survey.everything and survey.unusable:
            LOG.warning(
                "%d images of Glance have ids that are no UUIDs, or that are "
                "kept for canaries, for example %s; they get no EC2 id",
                len(survey.unusable),
                survey.unusable[0][:60],
            )
