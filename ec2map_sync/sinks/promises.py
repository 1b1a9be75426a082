"""Promises: ids that images say they have from ec2-api, held against it.

Any user of Glance may give an own image the property ``ec2_id``. It is a
word of ec2-api's only where ec2-api's own table has the same.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ec2map_sync import outages
from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Sighting, is_promise, unpromised
from ec2map_sync.rules.ec2id import DERIVED
from ec2map_sync.sinks import Sink
from ec2map_sync.sinks.ec2api import Ec2ApiSink

LOG = logging.getLogger(__name__)

RETRY = 30.0
"""Seconds for which a database that did not answer is not asked again: it
holds up what every image waits for."""


class Promises:
    """Asks ec2-api's table, and all sinks whether a number is free.

    Images that name no id cost nothing. Nothing is asked twice: an image
    whose row ec2-api has not written yet is looked at again when Glance
    tells of it next.
    """

    def __init__(
        self,
        ledger: Ledger,
        ec2api: Ec2ApiSink,
        sinks: Callable[[], Sequence[Sink]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._ec2api = ec2api
        self._sinks = sinks
        self._monotonic = monotonic
        self._silent_until = float("-inf")

    def judged(self, sightings: Sequence[Sighting]) -> Sequence[Sighting]:
        """Returns sightings with those promises that are ec2-api's."""
        named = [s for s in sightings if is_promise(s)]
        if not named:
            return sightings
        judged = self._judge(named)
        return [judged.get(s, s) for s in sightings]

    def _judge(self, named: Sequence[Sighting]) -> dict[Sighting, Sighting]:
        sitting = self._ledger.queries.wishes(
            s.wanted for s in named if s.wanted is not None
        )
        holders = {number: wish.image for number, wish in sitting.items()}
        try:
            if self._monotonic() >= self._silent_until:
                return self._asked(named, holders)
        except outages.OUTAGES as error:
            LOG.warning(
                "ids that ec2-api has promised wait: %s; see 'ec2map-sync "
                "config check'",
                outages.describe(error),
            )
            self._silent_until = self._monotonic() + RETRY
        return {s: _waiting(s) for s in named}

    def _asked(
        self, named: Sequence[Sighting], holders: Mapping[int, str]
    ) -> dict[Sighting, Sighting]:
        given = self._ec2api.given(s.uuid for s in named)
        rows = self._ec2api.rows(
            s.wanted
            for s in named
            if s.wanted is not None and s.image not in given
        )
        unwritten = {row.number for row in rows if not row.uuid}
        found = {}
        for s in named:
            number = given.get(s.image)
            if number is None and (s.promised or s.wanted in unwritten):
                found[s] = _waiting(s)
            elif _is_same(s, number):
                found[s] = s
            else:
                found[s] = unpromised(s)
        taken = self._taken([s for s in found.values() if s.wanted], holders)
        return {
            s: unpromised(s) if one in taken else one
            for s, one in found.items()
        }

    def _taken(
        self, wanting: Sequence[Sighting], holders: Mapping[int, str]
    ) -> set[Sighting]:
        """Returns whose number another image has, in any sink or to come."""
        numbers = {s.wanted for s in wanting if s.wanted is not None}
        if not numbers:
            return set()
        images = defaultdict[int, set[str]](set)
        for number, image in holders.items():
            images[number].add(image)
        for sink in self._sinks():
            for row in sink.rows(numbers):
                images[row.number].add(row.uuid.lower())
        return {
            s for s in wanting if s.wanted and images[s.wanted] - {s.image, ""}
        }


def _is_same(sighting: Sighting, number: int | None) -> bool:
    """Returns whether a promise is what ec2-api's table has."""
    if number is None:
        return False
    if sighting.promised:
        return number >= DERIVED.stop
    return number == sighting.wanted


def _waiting(sighting: Sighting) -> Sighting:
    """Returns what is seen of an image before its row is written there.

    Were a row of ours there first, ec2-api could not write its own.
    """
    return replace(sighting, wanted=None, promised=True)
