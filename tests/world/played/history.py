"""A history: the days of a world, planned and lived by a seed.

What happens when is planned first: that is how a history which fails can be
shrunk, by leaving some of it out.
"""

import gc
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from played import crowd, customers, guests, lies, nature, sizes
from played.happenings import ACTS, Act
from played.scheduler import BEGIN
from played.world import World, has_ec2api, has_liar, has_memcached

DAYS = 3
PER_DAY = 20
"""Happenings of a day, within some minutes; the rest of it nobody lives."""
DAY = 24 * 3600.0
BEGINNING = 20.0
"""Seconds that regions have before anything happens."""


@dataclass
class Outcome:
    """What a history has come to."""

    seed: int
    days: int
    lived: float
    """Seconds of them that were lived, and not leapt over."""
    images: int
    switches: int
    """How often another task went on."""
    fingerprint: str
    """A hash of all that has happened."""
    longest: float
    """Seconds, at most, from the last fault until all was as it must be."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens: what, and how long after the last."""

    place: int
    act: Act
    pause: float


def planned(seed: int, days: int) -> list[list[Happening]]:
    """Returns what is going to happen, day by day."""
    plan = Random(f"plan {seed}")
    some = [
        *ACTS,
        *(customers.ACTS if has_ec2api(seed) else ()),
        *(lies.ACTS if has_liar(seed) else ()),
        *(guests.ACTS if has_memcached(seed) else ()),
    ]
    acts, often = zip(*some, strict=True)
    return [
        [
            Happening(
                day * PER_DAY + place,
                act,
                plan.choice([0.0, 0.01, 0.3, 2.0, 8.0]),
            )
            for place, act in enumerate(plan.choices(acts, often, k=PER_DAY))
        ]
        for day in range(days)
    ]


def live(world: World, days: list[list[Happening]], images: int) -> None:
    """Lives some days; in the evening of each, all is judged.

    So many ``images`` are uploaded in each region and day besides.
    """
    world.pass_time(BEGINNING)
    for place, day in enumerate(days):
        for happening, some in crowd.spread(day, images):
            crowd.arrive(world, some)
            world.pass_time(happening.pause)
            happening.act(world, Random(f"{world.seed} {happening.place}"))
        world.quiet()
        world.say(f"day {place + 1} ends")
        next_day = BEGIN + (place + 1) * DAY
        world.scheduler.leap(next_day - world.scheduler.now)
    # After a night without a time server, hosts of one region may not even
    # agree on when a peer was heard; and first all say that they are there.
    world.set_clocks()
    world.pass_time(BEGINNING)
    world.doubt(Random(f"{world.seed} doubt"))
    world.quiet()
    world.verify()


def run(
    seed: int,
    leave_out: Collection[int] = (),
    days: int = DAYS,
    log: list[str] | None = None,
    images: int = 0,
) -> Outcome:
    """Lives a history, without the happenings that are left out.

    :raises Wrong: a guarantee was broken.
    """
    plan = [
        [one for one in day if one.place not in leave_out]
        for day in planned(seed, days)
    ]
    scratch = "/dev/shm" if Path("/dev/shm").is_dir() else None
    gc.disable()
    if not images:
        sizes.draw(seed)
    with TemporaryDirectory(dir=scratch) as directory:
        world = World(seed, Path(directory), log, images * days)
        with nature.living(world.scheduler, seed):
            try:
                live(world, plan, images)
            finally:
                world.end()
                gc.enable()
    gc.collect()
    return Outcome(
        seed=seed,
        days=days,
        lived=world.lived,
        images=len(world.images),
        switches=world.scheduler.switches,
        fingerprint=world.scheduler.fingerprint,
        longest=world.longest,
    )
