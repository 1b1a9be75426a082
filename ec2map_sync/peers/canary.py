"""The canary: claims a marker now and then, as if it had seen an image.

Whether it arrives, is recorded and is told back is what all else depends on.
"""

from collections.abc import Callable

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.canaries import canary_of
from ec2map_sync.rules.claims import Sighting, Stamp


class Canary:
    """Claims a marker of each moment, once, whichever host comes first.

    ``interval`` is that between moments, in seconds; ``recorded`` is called
    after each claim.
    """

    def __init__(
        self,
        ledger: Ledger,
        region: str,
        *,
        interval: int,
        recorded: Callable[[], None],
        clock: Callable[[], Stamp],
    ) -> None:
        self._ledger = ledger
        self._region = region
        self._interval = interval
        self._recorded = recorded
        self._clock = clock
        self._claimed: int | None = None

    def step(self) -> None:
        """Claims the marker of this moment, unless that is done."""
        moment = self._clock() // (1_000_000 * self._interval)
        if moment == self._claimed:
            return
        image = canary_of(self._region, moment)
        marker = Sighting(image=image, uuid=image, announced=False)
        if self._ledger.see([marker]).news:
            self._recorded()
        self._claimed = moment
