"""How much the package takes at once, in each world something else.

In a world there are dozens of images, not millions: so that answers have more
than one page, and feeds more than one batch, pages are small in some of them.
"""

from random import Random

from ec2map_sync.peers import compare, follower
from ec2map_sync.sinks import writer

SIZES = (
    (compare, "SMALL", (2, 32)),
    (compare, "PAGE", (3, 5000)),
    (compare, "RANGES", (2, 32)),
    (follower, "MESSAGES_AT_ONCE", (2, 20)),
    (writer, "NUMBERS_AT_ONCE", (2, 1000)),
)
BATCHES = (3, 20)
"""Messages of a batch: `[notifications]` and `[bus] batch_size`."""


def draw(seed: int) -> None:
    """Sets them as a seed has it."""
    rng = Random(f"sizes {seed}")
    for module, name, choices in SIZES:
        assert isinstance(getattr(module, name), int)
        setattr(module, name, rng.choice(choices))
