"""The stage of the demonstration: regions, and what happens to images."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ec2map_sync.demo.glance import Image
from ec2map_sync.demo.region import Region
from ec2map_sync.rules.ec2id import format_id

PACE = 0.025
"""Seconds between two images, so that the eye can follow."""

PATIENCE = 60.0
"""Seconds after which something that has to happen has not."""

LOOK = 0.01
"""Seconds between two looks whether it has happened."""

BACKLOG = 3
"""Images that may be on their way at a time: on a slow machine the delays
should be the regions' own, not those of a queue that we have filled."""


class Late(Exception):
    """Something that has to happen did not, within PATIENCE."""


class Stage:
    """The regions, and the images that they have created and copied."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self.regions = regions
        self.away = regions[-1]
        """The one that gets cut off."""
        self.images: list[Image] = []
        self.created: dict[str, float] = {}
        self.copied: dict[tuple[str, str], float] = {}
        """When, by (image, region)."""
        self.while_cut: set[str] = set()
        """Images that were created while not all could hear each other."""
        self._pace = threading.Event()  # never set: a wait is a pause

    def create(self, image: Image) -> None:
        """Lets an image's region create it, soon after those before."""
        for before in self.images[-BACKLOG:][:1]:
            self.await_rows([before], self.hearing(before))
        self.images.append(image)
        self.created[image.uuid] = time.time()
        if not self.away.linked:
            self.while_cut.add(image.uuid)
        self._region(image.home).glance.create(image)
        self._pace.wait(PACE)

    def copy(self, image: Image) -> None:
        """Copies an image, with its UUID, to the region after its own."""
        place = self.regions.index(self._region(image.home)) + 1
        target = self.regions[place % len(self.regions)]
        self.copied[image.uuid, target.name] = time.time()
        target.glance.create(image)

    def cut(self) -> None:
        """Parts one region from all others."""
        for region in self.regions:
            far = region.peers if region is self.away else [self.away.name]
            region.cut(far)

    def link(self) -> None:
        """Lets all hear each other."""
        for region in self.regions:
            for peer in set(region.peers) - region.linked:
                region.link(peer)

    def hearing(self, image: Image) -> list[Region]:
        """Returns the regions that hear of an image at once."""
        return [
            region
            for region in self.regions
            if image.home == region.name or image.home in region.linked
        ]

    def await_rows(
        self, images: Iterable[Image], regions: Sequence[Region] = ()
    ) -> None:
        """Waits until images have their rows, in all regions or some."""
        for image in images:
            self.wait(
                f"image {image.uuid} has its row",
                partial(_has, image.uuid),
                regions,
            )

    def wait(
        self,
        what: str,
        done: Callable[[Region], bool],
        regions: Sequence[Region] = (),
    ) -> None:
        """Waits until something holds, in all regions or some.

        :raises Late: it never did.
        """
        deadline = time.monotonic() + PATIENCE
        for region in regions or self.regions:
            while not done(region):
                if time.monotonic() > deadline:
                    raise Late(
                        f"{region.name}: waited {PATIENCE:.0f} s in vain "
                        f"until {what}."
                    )
                self._pace.wait(LOOK)

    def ids(self, image: Image) -> list[str]:
        """Returns what each region's Nova answers for an image."""
        found = [r.cell.numbers().get(image.uuid) for r in self.regions]
        return ["-" if n is None else format_id(n, image.kind) for n in found]

    def ready(self) -> int:
        """Counts the copies whose row was there before they were made."""
        arrivals = {r.name: r.cell.arrivals() for r in self.regions}
        return sum(
            arrivals[name].get(image, at) < at
            for (image, name), at in self.copied.items()
        )

    def _region(self, name: str) -> Region:
        return next(r for r in self.regions if r.name == name)


def _has(image: str, region: Region) -> bool:
    return region.cell.has(image)
