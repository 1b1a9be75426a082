"""Guests who ask for the id of their image, where Nova has a memcached.

What is not remembered is read from the cell's rows, and then remembered, for
all cells, for a week.
"""

from collections.abc import Callable
from functools import partial
from random import Random

from played.memcached import Memcached
from played.region import Region
from played.world import World

ASKED = 30
"""Images for which guests ask at a time."""

Act = Callable[[World, Random], None]


def _chosen(world: World, rng: Random) -> tuple[Region, Memcached] | None:
    """Chooses a region that has a memcached."""
    found = [(r, r.memcached) for r in world.regions if r.memcached]
    return rng.choice(found) if found else None


def ask(world: World, rng: Random) -> None:
    """Guests in a cell ask for the ids of their images, for some seconds.

    Nova remembers a while after it has read.
    """
    chosen = _chosen(world, rng)
    if chosen is None:
        return
    region, memcached = chosen
    cell, now = rng.choice(region.cells), world.scheduler.now
    world.say(f"guests of {region.name} ask for ids")

    def read(draw: float, delay: float) -> None:
        images = sorted({*cell.rows().values()} - memcached.ids.keys())
        if images:
            image = images[int(draw * len(images))]
            found = cell.first_of(image.lower())
            world.scheduler.at(
                world.scheduler.now + delay,
                lambda: memcached.remember(image, found),
            )

    for n in range(ASKED):
        delay = rng.choice([0.0, 0.01, 0.3, 2.0])
        act = partial(read, rng.random(), delay)
        world.scheduler.at(now + n * rng.choice([0.0, 0.1, 0.4]), act)


def fail(world: World, rng: Random) -> None:
    """Memcached begins anew, empty, or we do not reach it and Nova does."""
    chosen = _chosen(world, rng)
    if chosen is None:
        return
    _, memcached = chosen
    memcached.up = False
    if rng.random() < 0.5:
        memcached.ids.clear()
    world.say(f"{memcached.name} is away, with {len(memcached.ids)} ids")

    def back() -> None:
        memcached.up = True

    later = world.scheduler.now + rng.choice([1.0, 15.0, 100.0])
    world.scheduler.at(later, back)
    ask(world, rng)


ACTS: tuple[tuple[Act, int], ...] = ((ask, 20), (fail, 4))
