"""Backfilling: claims for every image that Glance has already."""

import time
from collections.abc import Callable

from ec2map_sync.glance.audit import IMAGES_AT_ONCE, Survey, news
from ec2map_sync.ledger import Ledger


class Pace:
    """Keeps to so many a second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._began = time.monotonic()

    def wait(self, done: int) -> None:
        """Waits until so many may have been done."""
        ahead = done / self._rate - (time.monotonic() - self._began)
        if ahead > 0:
            time.sleep(ahead)


def backfill(
    ledger: Ledger,
    survey: Survey,
    *,
    rate: float,
    dry_run: bool,
    advance: Callable[[int], None],
) -> None:
    """Goes through a survey, at most ``rate`` images a second.

    The survey counts; ``advance`` is told how many more images are done.
    """
    size = max(1, min(IMAGES_AT_ONCE, int(rate)))
    pace = Pace(rate)
    while images := survey.batch(size):
        sightings = survey.sightings(images)
        found = (
            news(ledger, sightings) if dry_run else ledger.see(sightings).news
        )
        survey.done(images, found)
        advance(len(images))
        pace.wait(survey.seen)
