"""The story that the demonstration tells, in three parts."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, zip_longest

from ec2map_sync.demo.comparison import judge, spread
from ec2map_sync.demo.glance import Image, new_images, rivals
from ec2map_sync.demo.region import Region
from ec2map_sync.demo.scene import (
    Delays,
    Ending,
    RegionView,
    Sample,
    Screen,
    View,
)
from ec2map_sync.rules.ec2id import Kind, format_id

PACE = 0.025
"""Seconds between two images, so that the eye can follow."""

PATIENCE = 60.0
"""Seconds after which something that has to happen has not."""

BACKLOG = 3
"""Images that may be on their way at a time: on a slow machine the delays
should be the regions' own, not those of a queue that we have filled."""

COPY_AFTER = 12
"""Images between an image's creation and its copy: copying takes a while."""

LOOK = 0.01
"""Seconds between two looks whether it has happened."""

RIVALS = 2
"""Images, of all, that are made to collide."""

SAMPLES = 10


class Late(Exception):
    """Something that has to happen did not, within PATIENCE."""


class Story:
    """Images are created, copied, collide; regions are cut off, return."""

    def __init__(
        self, regions: Sequence[Region], images: int, screen: Screen
    ) -> None:
        self._regions = regions
        self._count = images
        self._screen = screen
        self._dice = random.Random(images)
        self._pace = threading.Event()  # never set: a wait is a pause
        self._title = "The regions start"
        self._images: list[Image] = []
        self._created: dict[str, float] = {}
        self._copied: dict[tuple[str, str], float] = {}
        self._while_cut: set[str] = set()
        self._rivals: tuple[Image, ...] = ()

    @property
    def _away(self) -> Region:
        """The region that gets cut off."""
        return self._regions[-1]

    def tell(self) -> Ending:
        """Tell it all."""
        others = self._count - RIVALS
        first = max(1, others * 6 // 10)
        homes = [region.name for region in self._regions]
        images = new_images(homes, self._dice)
        trouble = ""
        with self._screen.watch(self.look):
            try:
                self._meet()
                self._travel(list(islice(images, first)))
                self._collide()
                self._cut(list(islice(images, others - first)))
            except Late as error:
                trouble = str(error)
                self._screen.say(trouble)
        return self._ending(trouble)

    def look(self) -> View:
        """Give the picture of this moment."""
        return View(
            title=self._title,
            done=len(self._images),
            total=self._count,
            regions=tuple(self._look_at(region) for region in self._regions),
        )

    def _look_at(self, region: Region) -> RegionView:
        linked = {
            peer.name
            for peer in self._regions
            if peer.name in region.linked and region.name in peer.linked
        }
        others = [r.name for r in self._regions if r is not region]
        latest = region.cell.latest()
        created = self._created.get(latest[0]) if latest else None
        return RegionView(
            name=region.name,
            seen=sum(i.home == region.name for i in self._images)
            + sum(name == region.name for _, name in self._copied),
            claims=region.claims(),
            rows=len(region.cell.rows()),
            linked=tuple(n for n in others if n in linked),
            cut=tuple(n for n in others if n not in linked),
            delay=latest[1] - created if latest and created else None,
        )

    # -- parts

    def _meet(self) -> None:
        for region in self._regions:
            # Glance declares its exchange and queue with what it first
            # sends; who listens waits for that.
            region.glance.download(self._dice.choice(region.earlier))
            region.start()
        self._await(
            "every region answers", lambda r: r.answers(), self._regions
        )
        for region in self._regions:
            for peer in region.peers:
                region.link(peer)
        self._await(
            "every region has compared its ledger with its peers'",
            lambda r: r.met() == set(r.peers),
            self._regions,
        )
        self._screen.say(
            f"{len(self._regions)} regions run, each with its own Glance, "
            "ledger and Nova cell, and hear each other."
        )

    def _travel(self, images: Sequence[Image]) -> None:
        self._begin("1. Images are created everywhere, and travel")
        for place, image in enumerate(images):
            self._create(image)
            if place >= COPY_AFTER:
                self._copy(images[place - COPY_AFTER])
        self._await_rows(images)
        for image in images[-COPY_AFTER:]:
            self._copy(image)
        self._screen.say(
            f"{len(images)} images: each has its row in every region's Nova, "
            "under one number."
        )
        self._say_copies()

    def _say_copies(self) -> None:
        self._screen.say(
            f"{len(self._copied)} were copied to another region, with their "
            f"UUID; {self._ready()} of them found their row there already."
        )

    def _collide(self) -> None:
        self._begin("2. Two images collide across a cut")
        here, away = self._regions[0], self._away
        uuids = rivals(here.config.scheme, self._dice)
        older = Image(uuid=uuids[0], home=here.name)
        newer = Image(uuid=uuids[1], home=away.name)
        self._rivals = (older, newer)
        self._part_from_all()
        for image, region in ((older, here), (newer, away)):
            self._while_cut.add(image.uuid)
            self._create(image)
            self._await_rows([image], [region])
        both = self._id(older, here)
        self._screen.say(
            f"{both} is image {_short(older)} in {here.name}, and "
            f"image {_short(newer)} in {away.name}: both sides have claimed "
            "the same number."
        )
        self._return_to_all()
        self._await_rows([older, newer])
        self._await_same([older, newer])
        self._say_moves()

    def _say_moves(self) -> None:
        for region in self._regions:
            for move in region.moves():
                self._screen.say(
                    f"{region.name} has recorded: image {move.image[:8]} "
                    f"moved from {format_id(move.old)} to "
                    f"{format_id(move.new)}, because image "
                    f"{move.cause[:8]} was claimed earlier."
                )

    def _cut(self, images: Sequence[Image]) -> None:
        self._begin("3. A region is away for a while, and catches up")
        away = self._away
        self._part_from_all()
        for image in images:
            self._while_cut.add(image.uuid)
            self._create(image)
        for image in images[-BACKLOG:]:
            self._await_rows([image], self._hearing(image))
        theirs = sum(image.home != away.name for image in images)
        self._screen.say(
            f"Meanwhile {len(images)} images were created: {theirs} that "
            f"{away.name} does not know of, {len(images) - theirs} in "
            f"{away.name} that the others do not know of."
        )
        begin = time.monotonic()
        self._return_to_all()
        self._await_rows(images)
        self._screen.say(
            f"All had caught up {time.monotonic() - begin:.1f} s later."
        )
        for image in images:
            self._copy(image)
        self._screen.say(f"{len(images)} more copies were made.")

    # -- deeds

    def _begin(self, title: str) -> None:
        self._title = title
        self._screen.part(title)

    def _create(self, image: Image) -> None:
        for before in self._images[-BACKLOG:][:1]:
            self._await_rows([before], self._hearing(before))
        glance = self._region(image.home).glance
        self._images.append(image)
        self._created[image.uuid] = time.time()
        glance.create(image)
        glance.upload(image)
        self._pace.wait(PACE)

    def _copy(self, image: Image) -> None:
        """Copy an image, with its UUID, to the region after its own."""
        names = [region.name for region in self._regions]
        target = names[(names.index(image.home) + 1) % len(names)]
        self._copied[image.uuid, target] = time.time()
        glance = self._region(target).glance
        glance.create(image)
        glance.upload(image)

    def _part_from_all(self) -> None:
        for region in self._regions:
            far = region.peers if region is self._away else [self._away.name]
            region.cut(far)
        self._screen.say(f"{self._away.name} is cut off from the others.")

    def _return_to_all(self) -> None:
        for region in self._regions:
            for peer in set(region.peers) - region.linked:
                region.link(peer)
        self._screen.say(f"{self._away.name} is back.")

    # -- waiting

    def _hearing(self, image: Image) -> list[Region]:
        """Give the regions that hear of an image at once."""
        return [
            region
            for region in self._regions
            if image.home == region.name or image.home in region.linked
        ]

    def _await_rows(
        self, images: Iterable[Image], regions: Sequence[Region] = ()
    ) -> None:
        for image in images:
            self._await_row(image, regions or self._regions)

    def _await_row(self, image: Image, regions: Sequence[Region]) -> None:
        self._await(
            f"image {image.uuid} has its row",
            lambda region: region.cell.has(image.uuid),
            regions,
        )

    def _await_same(self, images: Sequence[Image]) -> None:
        def settled(_: Region) -> bool:
            return all(
                len({self._id(image, r) for r in self._regions}) == 1
                for image in images
            )

        self._await("both sides settle the same", settled, self._regions)

    def _await(
        self,
        what: str,
        done: Callable[[Region], bool],
        regions: Iterable[Region],
    ) -> None:
        deadline = time.monotonic() + PATIENCE
        for region in regions:
            while not done(region):
                if time.monotonic() > deadline:
                    raise Late(
                        f"{region.name}: waited {PATIENCE:.0f} s in vain "
                        f"until {what}."
                    )
                self._pace.wait(LOOK)

    # -- the end

    def _region(self, name: str) -> Region:
        return next(r for r in self._regions if r.name == name)

    def _id(self, image: Image, region: Region) -> str:
        number = region.cell.numbers().get(image.uuid)
        return "-" if number is None else format_id(number, image.kind)

    def _ready(self) -> int:
        arrivals = {r.name: r.cell.arrivals() for r in self._regions}
        return sum(
            arrivals[name].get(image, at) < at
            for (image, name), at in self._copied.items()
        )

    def _ending(self, trouble: str) -> Ending:
        alone = self._boot_alone()
        images = [image.uuid for image in self._images]
        comparison = judge(
            images, {r.name: r.cell.rows() for r in self._regions}
        )
        return Ending(
            regions=tuple(region.name for region in self._regions),
            samples=tuple(self._sample(i, alone) for i in self._choose()),
            delays=tuple(self._delays(region) for region in self._regions),
            comparison=comparison,
            agree_alone=sum(
                len({numbers[image] for numbers in alone.values()}) == 1
                for image in images
            ),
            copies=len(self._copied),
            ready=self._ready(),
            moves=sum(len(region.moves()) for region in self._regions),
            trouble=trouble,
        )

    def _boot_alone(self) -> dict[str, dict[str, int]]:
        """Let a Nova that knows nothing number the images as it boots them.

        In each region they are booted for the first time in another order.
        """
        alone = {}
        for region in self._regions:
            order = [image.uuid for image in self._images]
            self._dice.shuffle(order)
            region.alone.boot(order)
            alone[region.name] = region.alone.numbers()
        return alone

    def _choose(self) -> list[Image]:
        """Choose images for the table: of all kinds, the rivals among them."""
        others = [i for i in self._images if i not in self._rivals]
        self._dice.shuffle(others)
        kinds = [[i for i in others if i.kind is kind] for kind in Kind]
        mixed = [i for alike in zip_longest(*kinds) for i in alike if i]
        some = mixed[: SAMPLES - RIVALS]
        return [*(i for i in self._images if i in some), *self._rivals]

    def _sample(
        self, image: Image, alone: dict[str, dict[str, int]]
    ) -> Sample:
        moved = {m.image for r in self._regions for m in r.moves()}
        copies = [name for uuid, name in self._copied if uuid == image.uuid]
        notes = [f"of {image.home}", *(f"copied to {name}" for name in copies)]
        if image in self._rivals:
            notes.append("moved" if image.uuid in moved else "stayed")
        elif image.uuid in self._while_cut:
            notes.append("during the cut")
        return Sample(
            image=_short(image),
            story=", ".join(notes),
            ids=tuple(self._id(image, region) for region in self._regions),
            alone=tuple(
                format_id(numbers[image.uuid], image.kind)
                for numbers in alone.values()
            ),
        )

    def _delays(self, region: Region) -> Delays:
        """Measure what was created while all could hear each other."""
        own: list[float] = []
        remote: list[float] = []
        arrivals = region.cell.arrivals()
        for image in self._images:
            if image.uuid in arrivals and image.uuid not in self._while_cut:
                delay = arrivals[image.uuid] - self._created[image.uuid]
                (own if image.home == region.name else remote).append(delay)
        return Delays(
            region=region.name, own=spread(own), remote=spread(remote)
        )


def _short(image: Image) -> str:
    return image.uuid[:8]
