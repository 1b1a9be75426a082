"""The end of the demonstration: what there is to tell when all is done."""

import random
from collections.abc import Sequence
from itertools import zip_longest

from ec2map_sync.demo.comparison import judge, spread
from ec2map_sync.demo.glance import Image
from ec2map_sync.demo.region import Region
from ec2map_sync.demo.scene import Delays, Ending, Sample
from ec2map_sync.demo.stage import Stage
from ec2map_sync.rules.ec2id import Kind, format_id

SAMPLES = 10

Alone = Sequence[dict[str, int]]
"""What each region's Nova would have answered, by image."""


def end(
    stage: Stage, rivals: Sequence[Image], dice: random.Random, trouble: str
) -> Ending:
    """Compares all rows, and choose what to show."""
    images = [image.uuid for image in stage.images]
    alone = [_boot_alone(region, images, dice) for region in stage.regions]
    shown = _choose(stage.images, rivals, dice)
    return Ending(
        regions=tuple(region.name for region in stage.regions),
        samples=tuple(_sample(stage, i, i in rivals, alone) for i in shown),
        delays=tuple(_delays(stage, region) for region in stage.regions),
        comparison=judge(
            images, {r.name: r.cell.rows() for r in stage.regions}
        ),
        agree_alone=sum(len({n[i] for n in alone}) == 1 for i in images),
        copies=len(stage.copied),
        ready=stage.ready(),
        trouble=trouble,
    )


def _boot_alone(
    region: Region, images: Sequence[str], dice: random.Random
) -> dict[str, int]:
    """Lets a Nova that knows nothing number the images as it boots them.

    In each region they are booted for the first time in another order.
    """
    region.alone.boot(dice.sample(images, len(images)))
    return region.alone.numbers()


def _choose(
    images: Sequence[Image], rivals: Sequence[Image], dice: random.Random
) -> list[Image]:
    """Chooses images for the table: of all kinds, the rivals among them."""
    others = [i for i in images if i not in rivals]
    dice.shuffle(others)
    kinds = [[i for i in others if i.kind is kind] for kind in Kind]
    mixed = [i for alike in zip_longest(*kinds) for i in alike if i]
    some = mixed[: SAMPLES - 2]
    return [*(i for i in images if i in some), *rivals]


def _sample(stage: Stage, image: Image, rival: bool, alone: Alone) -> Sample:
    notes = [f"of {image.home}"]
    notes += [f"copied to {to}" for of, to in stage.copied if of == image.uuid]
    if rival:
        moved = any(region.moves([image.uuid]) for region in stage.regions)
        notes.append("moved" if moved else "stayed")
    elif image.uuid in stage.while_cut:
        notes.append("during the cut")
    return Sample(
        image=image.short,
        story=", ".join(notes),
        ids=tuple(stage.ids(image)),
        alone=tuple(format_id(n[image.uuid], image.kind) for n in alone),
    )


def _delays(stage: Stage, region: Region) -> Delays:
    """Measures what was created while all could hear each other."""
    own: list[float] = []
    remote: list[float] = []
    arrivals = region.cell.arrivals()
    for image in stage.images:
        if image.uuid in arrivals and image.uuid not in stage.while_cut:
            delay = arrivals[image.uuid] - stage.created[image.uuid]
            (own if image.home == region.name else remote).append(delay)
    return Delays(region=region.name, own=spread(own), remote=spread(remote))
