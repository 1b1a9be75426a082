"""Users of ec2-api, where a region has one: it makes rows as they call.

They may come before our row is there: at the moment at which Glance has an
image.
"""

from collections.abc import Callable
from random import Random
from uuid import UUID

from ec2map_sync.rules.ec2id import ON_DEMAND, Kind, kind_of, parse_id
from played import ec2api
from played.region import Region
from played.world import World

FORMS = ("bare", "aki", "ari")
KINDS = (Kind.AMI, Kind.AKI, Kind.ARI)

Act = Callable[[World, Random], None]


def _chosen(world: World, rng: Random) -> tuple[Region, ec2api.Ec2Api] | None:
    """Chooses a region that has an ec2-api."""
    found = [(r, r.ec2api) for r in world.regions if r.ec2api is not None]
    return rng.choice(found) if found else None


def _known(region: Region, rng: Random) -> str | None:
    """Chooses an image of the region's Glance, most often a new one."""
    images = list(region.catalogue)
    return rng.choice(images[-rng.choice([2, 8, 100]) :]) if images else None


def _id(world: World, region: Region, image: str, rng: Random) -> str:
    """Draws an id with the prefix that the image's format makes."""
    found = region.catalogue.get(image)
    kind = kind_of(found.container_format) if found else None
    return ec2api.drawn(rng, world.scheme, image, kind or Kind.AMI)


def describe(world: World, rng: Random) -> None:
    """Somebody describes images; of each without a row, one is made."""
    chosen = _chosen(world, rng)
    if chosen is None:
        return
    region, api = chosen
    for _ in range(rng.choice([1, 3])):
        image = _known(region, rng)
        if image is not None:
            id_ = _id(world, region, image, rng)
            world.say(f"ec2-api of {region.name} is asked for {image[:8]}")
            api.describe(image, id_)


def arrive(world: World, rng: Random) -> None:
    """A user uploads an image, and calls for it at once."""
    chosen = _chosen(world, rng)
    if chosen is None or not world.has_room:
        return
    region, api = chosen
    image, form = world.image(rng), rng.choice([*FORMS, None])
    id_ = ec2api.drawn(
        rng, world.scheme, image, kind_of(form or "bare") or Kind.AMI
    )
    call = rng.choice([api.describe, api.use])
    later = world.scheduler.now + rng.choice([0.0, 0.005, 0.02, 0.1])
    region.tell(image, form, "image.create")
    world.say(f"{region.name} tells of {image[:8]} ({form}), ec2-api is asked")
    world.scheduler.at(later, lambda: call(image, id_))


def use(world: World, rng: Random) -> None:
    """An image's owner calls for it: the row is the owner's from then on.

    The format may be put right later, and the row stays.
    """
    chosen = _chosen(world, rng)
    image = _known(chosen[0], rng) if chosen else None
    if chosen is None or image is None:
        return
    region, api = chosen
    world.say(f"ec2-api of {region.name} uses {image[:8]}")
    api.use(image, _id(world, region, image, rng))
    form = rng.choice(FORMS)
    if rng.random() < 0.4:
        world.say(f"{region.name} tells of {image[:8]} ({form}) later")
        later = world.scheduler.now + 1.0
        world.scheduler.at(
            later, lambda: region.tell(image, form, "image.update") and None
        )


def forget(world: World, rng: Random) -> None:
    """An image was hidden for a moment, and its owner's call deletes rows."""
    chosen = _chosen(world, rng)
    images = sorted({*chosen[1].own.values()}) if chosen else []
    if chosen is None or not images:
        return
    region, api = chosen
    image = rng.choice(images)
    world.say(f"ec2-api of {region.name} deletes the row of {image[:8]}")
    world.tampered = True
    api.forget(image)


def untold(world: World, rng: Random) -> None:
    """ec2-api knows of an image that nobody has told of."""
    chosen = _chosen(world, rng)
    if chosen is None or not world.has_room:
        return
    region, api = chosen
    image = str(UUID(int=rng.getrandbits(128), version=4))
    id_ = ec2api.drawn(rng, world.scheme, image, rng.choice(KINDS))
    if parse_id(id_)[1] in ON_DEMAND:
        world.unannounced.append(image)
        world.say(f"ec2-api of {region.name} makes {id_} for {image[:8]}")
        api.describe(image, id_)


ACTS: tuple[tuple[Act, int], ...] = (
    (describe, 8),
    (arrive, 10),
    (use, 8),
    (forget, 2),
    (untold, 3),
)
