"""Runs the demonstration: makes the regions, and leaves nothing behind."""

import random
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ec2map_sync.broker import inside
from ec2map_sync.demo.region import Region, stop
from ec2map_sync.demo.scene import Ending, Screen
from ec2map_sync.demo.story import Story

NAMES = ("One", "Two", "Three", "Four", "Five", "Six")


def run(regions: int, images: int, screen: Screen) -> Ending:
    """Tells the story with so many regions and images."""
    inside.install()
    with (
        tempfile.TemporaryDirectory(
            prefix="ec2map-sync-demo-",
            ignore_cleanup_errors=True,  # somebody may be in a hurry
        ) as directory,
        _made(regions, Path(directory)) as made,
    ):
        return Story(made, images, screen).tell()


@contextmanager
def _made(count: int, directory: Path) -> Iterator[Sequence[Region]]:
    dice = random.Random(count)
    made = [
        # Nova has handed out ids here before, in each region other ones.
        Region(f"Region{name}", directory, _earlier(3 + 4 * place, dice))
        for place, name in enumerate(NAMES[:count])
    ]
    for region in made:
        region.configure(made)
    try:
        yield made
    finally:
        stop(made)


def _earlier(count: int, dice: random.Random) -> list[str]:
    return [str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(count)]
