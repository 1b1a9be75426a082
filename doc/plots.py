"""Plots what the benchmark has measured; each plot can be made anew.

python doc/plots.py

Of several recorded runs, each plot shows the newest that has its figures.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pictures import PICTURES, svg, text

RESULTS = Path(__file__).parents[1] / "benchmarks/results"
NAMES, BARS, WIDTH = 270, 210, 640
"""Pixels for the names, for the longest bar, and of all."""
MANY = 1000
"""From here on, nobody wants to see tenths."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What all rounds gave: the bar is their median, a line their range."""

    name: str
    rounds: Sequence[float]
    kind: str = "box"

    def drawn(self, y: int, scale: float) -> str:
        """Draw it; ``scale`` is in pixels for one."""
        low, middle, high = (
            round(scale * f(self.rounds)) for f in (min, median, max)
        )
        digits = 1 if max(self.rounds) < MANY else 0
        said = f"{median(self.rounds):,.{digits}f}"
        return "\n".join(
            [
                text(10, y + 17, self.name, "left"),
                f'<rect class="{self.kind}" x="{NAMES}" y="{y}" '
                f'width="{middle}" height="24"/>',
                f'<rect class="tip" x="{NAMES + low}" y="{y + 11}" '
                f'width="{high - low}" height="2"/>',
                text(NAMES + max(high, middle) + 10, y + 17, said, "left"),
            ]
        )


def newest(key: str) -> dict[str, Any]:
    """Give the newest line of a key that was recorded."""
    for path in sorted(RESULTS.glob("*.json"), reverse=True):
        for line in json.loads(path.read_text())["lines"]:
            if line["key"] == key:
                return line
    raise LookupError(key)


def plot(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """Put bars that have one unit below each other."""
    scale = BARS / max(max(bar.rounds) for bar in bars)
    return svg(
        WIDTH,
        40 + 34 * len(bars),
        title,
        [
            text(NAMES, 20, unit, "small left"),
            *(bar.drawn(30 + 34 * n, scale) for n, bar in enumerate(bars)),
        ],
    )


def ingest() -> str:
    """Show how fast notifications are taken, by us and by others."""
    ours, other = newest("ingest"), newest("ingest ceilometer")
    beside = ours["beside"]
    return plot(
        "Notifications that one listener takes",
        "notifications/s, committed where not said otherwise",
        [
            Bar("the agent", ours["ours"], "ours"),
            Bar(
                "one table, batches of 500",
                beside["one table, batches of 500"],
            ),
            Bar(
                "batch listener that does nothing",
                beside["no-op batch listener"],
            ),
            Bar("listener that does nothing", beside["no-op plain listener"]),
            Bar(
                "Ceilometer, commits nothing",
                other["beside"]["Ceilometer, test://, batch 100"],
            ),
        ],
    )


def delay() -> str:
    """Show how long an image waits for its row."""
    bars = []
    for of, where in (("own", "own row"), ("peer's", "peer's row")):
        for part in ("", " p95", " p99"):
            line = newest(f"delay {of}{part}")
            name = f"{where},{part or ' p50'}"
            (straight,) = line["beside"].values()
            bars.append(Bar(name, line["ours"], "ours"))
            bars.append(Bar("straight line", straight))
    return plot("From image.create to an image's row", "milliseconds", bars)


PLOTS: dict[str, Callable[[], str]] = {
    "ingest.svg": ingest,
    "delay.svg": delay,
}


def main() -> int:
    """Plot."""
    for name, draw in PLOTS.items():
        (PICTURES / name).write_text(draw())
        print(PICTURES / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
