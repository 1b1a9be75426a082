"""Happenings in which images meet: two that wish for one number, or one twice.

By chance that comes too seldom to show what goes wrong then.
"""

from random import Random

from played.region import Region
from played.world import World

FORMS = ("bare", "aki", "ari")


def twins(world: World, rng: Random) -> None:
    """At once, users of two regions upload what wishes for one number."""
    if not world.has_room:
        return
    one, other = rng.sample(world.regions, 2)
    first = world.image(rng)
    second = world.image(rng, wish=world.scheme.derive(first))
    world.say(f"{first[:8]} and {second[:8]} are twins")
    for region, image in ((one, first), (other, second)):
        region.tell(image, rng.choice(FORMS), "image.create")
        world.say(f"{region.name} tells of {image[:8]}")


def quarrel(world: World, rng: Random) -> None:
    """All regions tell of one image at once, and each says something else."""
    if not world.has_room:
        return
    image = world.image(rng)
    for region in world.regions:
        form = rng.choice(FORMS)
        region.tell(image, form, "image.create")
        world.say(f"{region.name} tells of {image[:8]} ({form}), as do others")


def usurp(world: World, rng: Random, region: Region) -> None:
    """A user uploads what wishes for a number that another image has."""
    if world.images and world.has_room:
        number = world.scheme.derive(rng.choice(world.images))
        image = world.image(rng, wish=number)
        region.tell(image, rng.choice(FORMS), "image.create")
        world.say(f"{region.name} tells of {image[:8]}, which wants {number}")
