"""A crowd of users: as many images a day as a large cloud has, or more."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from played.world import World

T = TypeVar("T")

FORMS = ("bare", "bare", "bare", "aki", "ari")


def spread(day: Sequence[T], images: int) -> Iterator[tuple[T, int]]:
    """Gives each happening of a day a part of so many images."""
    for place, happening in enumerate(day):
        before, upto = (images * n // len(day) for n in (place, place + 1))
        yield happening, upto - before


def arrive(world: World, images: int) -> None:
    """Lets so many images be uploaded in each region."""
    if not images:
        return
    rng = Random(f"{world.seed} crowd {len(world.images)}")
    for region in world.regions:
        world.say(f"{region.name} tells of {images} images")
        for _ in range(images):
            region.tell(world.image(rng), rng.choice(FORMS), "image.create")
