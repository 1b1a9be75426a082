"""The story that the demonstration tells, in three parts."""

import random
import time
from collections.abc import Sequence
from itertools import islice

from ec2map_sync.demo.ending import end
from ec2map_sync.demo.glance import Image, new_images, rivals
from ec2map_sync.demo.region import Region
from ec2map_sync.demo.scene import Ending, RegionView, Screen, View
from ec2map_sync.demo.stage import BACKLOG, Late, Stage
from ec2map_sync.rules.ec2id import format_id

COPY_AFTER = 12
"""Images between an image's creation and its copy: copying takes a while."""

RIVALS = 2
"""Images, of all, that are made to collide."""


class Story:
    """Images are created, copied, collide; regions are cut off, return."""

    def __init__(
        self, regions: Sequence[Region], images: int, screen: Screen
    ) -> None:
        self._stage = Stage(regions)
        self._count = images
        self._screen = screen
        self._dice = random.Random(images)
        self._title = "The regions start"
        self._rivals: tuple[Image, ...] = ()

    def tell(self) -> Ending:
        """Returns it all."""
        others = self._count - RIVALS
        first = max(1, others * 6 // 10)
        homes = [region.name for region in self._stage.regions]
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
        return end(self._stage, self._rivals, self._dice, trouble)

    def look(self) -> View:
        """Returns the picture of this moment."""
        return View(
            title=self._title,
            done=len(self._stage.images),
            total=self._count,
            regions=tuple(map(self._look_at, self._stage.regions)),
        )

    def _look_at(self, region: Region) -> RegionView:
        stage, name = self._stage, region.name
        others = [r for r in stage.regions if r is not region]
        linked = {
            r.name
            for r in others
            if r.name in region.linked and name in r.linked
        }
        latest = region.cell.latest()
        created = stage.created.get(latest[0]) if latest else None
        return RegionView(
            name=name,
            seen=sum(image.home == name for image in stage.images)
            + sum(target == name for _, target in stage.copied),
            claims=region.claims(),
            rows=len(region.cell.rows()),
            linked=tuple(r.name for r in others if r.name in linked),
            cut=tuple(r.name for r in others if r.name not in linked),
            delay=latest[1] - created if latest and created else None,
        )

    def _meet(self) -> None:
        stage = self._stage
        for region in stage.regions:
            # Glance declares its exchange and queue with what it first
            # sends; who listens waits for that.
            region.glance.download(self._dice.choice(region.earlier))
            region.start()
        stage.wait("every region answers", Region.answers)
        stage.link()
        stage.wait(
            "every region has compared its ledger with its peers'",
            lambda region: region.met() == set(region.peers),
        )
        self._screen.say(
            f"{len(stage.regions)} regions run, each with its own Glance, "
            "ledger and Nova cell, and hear each other."
        )

    def _travel(self, images: Sequence[Image]) -> None:
        self._begin("1. Images are created everywhere, and travel")
        stage = self._stage
        for place, image in enumerate(images):
            stage.create(image)
            if place >= COPY_AFTER:
                stage.copy(images[place - COPY_AFTER])
        stage.await_rows(images)
        for image in images[-COPY_AFTER:]:
            stage.copy(image)
        self._screen.say(
            f"{len(images)} images: each has its row in every region's Nova, "
            "under one number."
        )
        self._screen.say(
            f"{len(stage.copied)} were copied to another region, with their "
            f"UUID; {stage.ready()} of them found their row there already."
        )

    def _collide(self) -> None:
        self._begin("2. Two images collide across a cut")
        stage = self._stage
        here, away = stage.regions[0], stage.away
        uuids = rivals(here.config.scheme, self._dice)
        older = Image(uuid=uuids[0], home=here.name)
        newer = Image(uuid=uuids[1], home=away.name)
        self._rivals = (older, newer)
        self._cut_off()
        for image, region in ((older, here), (newer, away)):
            stage.create(image)
            stage.await_rows([image], [region])
        self._screen.say(
            f"{stage.ids(older)[0]} is image {older.short} in {here.name}, "
            f"and image {newer.short} in {away.name}: both sides have "
            "claimed the same number."
        )
        self._return()
        stage.await_rows(self._rivals)
        stage.wait(
            "both sides settle the same",
            lambda _: all(len(set(stage.ids(i))) == 1 for i in self._rivals),
        )
        self._say_moves()

    def _say_moves(self) -> None:
        images = [image.uuid for image in self._stage.images]
        for region in self._stage.regions:
            for move in region.moves(images):
                self._screen.say(
                    f"{region.name} has recorded: image {move.image[:8]} "
                    f"moved from {format_id(move.old)} to "
                    f"{format_id(move.new or 0)}, because image "
                    f"{move.cause[:8]} was claimed earlier."
                )

    def _cut(self, images: Sequence[Image]) -> None:
        self._begin("3. A region is away for a while, and catches up")
        stage, away = self._stage, self._stage.away
        self._cut_off()
        for image in images:
            stage.create(image)
        for image in images[-BACKLOG:]:
            stage.await_rows([image], stage.hearing(image))
        theirs = sum(image.home != away.name for image in images)
        self._screen.say(
            f"Meanwhile {len(images)} images were created: {theirs} that "
            f"{away.name} does not know of, {len(images) - theirs} in "
            f"{away.name} that the others do not know of."
        )
        begin = time.monotonic()
        self._return()
        stage.await_rows(images)
        self._screen.say(
            f"All had caught up {time.monotonic() - begin:.1f} s later."
        )
        for image in images:
            stage.copy(image)
        self._screen.say(f"{len(images)} more copies were made.")

    def _begin(self, title: str) -> None:
        self._title = title
        self._screen.part(title)

    def _cut_off(self) -> None:
        self._stage.cut()
        self._screen.say(
            f"{self._stage.away.name} is cut off from the others."
        )

    def _return(self) -> None:
        self._stage.link()
        self._screen.say(f"{self._stage.away.name} is back.")
