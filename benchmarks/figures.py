"""Figures: what was measured, beside what, how far it spreads, and since."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(kw_only=True)
class Line:
    """One line of the table: ours, and what it is measured against.

    ``ours`` and each list of ``beside`` have a value for each round, so that
    a ratio compares only what ran shortly after each other.
    """

    key: str
    what: str
    unit: str
    ours: list[float]
    beside: dict[str, list[float]] = field(default_factory=dict)
    goal: str = ""
    more: dict[str, object] = field(default_factory=dict)
    """Whatever else was seen; only in the JSON file."""

    def ratios(self) -> dict[str, list[float]]:
        """Give ours divided by each reference, round by round."""
        return {
            name: [a / b for a, b in zip(self.ours, values, strict=True)]
            for name, values in self.beside.items()
        }


def number(value: float) -> str:
    """Write a figure with three or so digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Write the median, and the least and the greatest value."""
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} - {number(max(values))})"


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the value below which so many percent of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def table(lines: Sequence[Line], before: Mapping[str, float]) -> str:
    """Write all lines for people; ``before`` has earlier medians by key."""
    rows = [("what", "measured", "ratio", "to reach", "last run")]
    for line in lines:
        last = before.get(line.key)
        change = ""
        if last:
            change = f"{statistics.median(line.ours) / last - 1:+.0%}"
        measured = f"{spread(line.ours)} {line.unit}"
        rows.append((line.what, measured, "", line.goal, change))
        ratios = line.ratios()
        for name, values in line.beside.items():
            measured = f"{spread(values)} {line.unit}"
            rows.append((f"  {name}", measured, spread(ratios[name]), "", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows
    )


def last_run(size: str) -> dict[str, float]:
    """Give the last recorded median of each line, of runs of this size."""
    found: dict[str, float] = {}
    for path in sorted(RESULTS.glob("*.json")):
        run = json.loads(path.read_text())
        if run["size"] == size:
            for line in run["lines"]:
                found[line["key"]] = statistics.median(line["ours"])
    return found


def record(lines: Sequence[Line], *, size: str, path: Path | None) -> Path:
    """Write a run as JSON; where nothing is said, among the results."""
    now = datetime.now(UTC)
    if path is None:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{now:%Y%m%dT%H%M%S}.json"
    run = {
        "at": now.isoformat(timespec="seconds"),
        "size": size,
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.system(),
            # Of the last minutes: a busy machine explains a wide spread.
            "load": os.getloadavg(),
        },
        "lines": [
            asdict(line)
            | {
                "median": statistics.median(line.ours),
                "ratios": {
                    name: statistics.median(values)
                    for name, values in line.ratios().items()
                },
            }
            for line in lines
        ],
    }
    path.write_text(json.dumps(run, indent=1) + "\n")
    return path


def plot(lines: Sequence[Line], path: Path) -> bool:
    """Draw what was measured; False where matplotlib is not installed."""
    try:
        from matplotlib import pyplot  # noqa: PLC0415, optional
    except ImportError:
        return False
    figure, panels = pyplot.subplots(2, 2, figsize=(14, 10))
    _ratios(panels[0][0], lines)
    _throughput(panels[0][1], lines)
    _latency(panels[1][0], lines)
    _memory(panels[1][1], lines)
    figure.tight_layout()
    figure.savefig(path)
    return True


def _ratios(panel: Any, lines: Sequence[Line]) -> None:
    bars = {
        f"{line.key} / {name}": statistics.median(values)
        for line in lines
        for name, values in line.ratios().items()
    }
    panel.barh(list(bars), list(bars.values()))
    panel.axvline(1, color="grey", linewidth=0.8)
    panel.set_title("ours / what it is measured against")


def _throughput(panel: Any, lines: Sequence[Line]) -> None:
    """Draw rates: the median, and a line from the least to the greatest."""
    for line in lines:
        if line.unit == "/s":
            for name, values in {line.what: line.ours, **line.beside}.items():
                middle = statistics.median(values)
                spread_ = [[middle - min(values)], [max(values) - middle]]
                panel.barh(f"{line.key}: {name}", middle, xerr=spread_)
    panel.set_title("throughput, per second")


def _latency(panel: Any, lines: Sequence[Line]) -> None:
    for name, values in _more(lines, "sample "):
        shares = [100 * i / len(values) for i in range(len(values))]
        panel.plot(sorted(values), shares, label=name)
    panel.set_xlabel("ms")
    panel.set_ylabel("percentile")
    panel.set_xscale("log")
    panel.set_title("latency")
    if panel.lines:
        panel.legend()


def _memory(panel: Any, lines: Sequence[Line]) -> None:
    for where, services in _more(lines, "memory "):
        for name, values in services.items():
            panel.plot(values, label=f"{where}, {name}")
    panel.set_xlabel("half seconds of a take-over")
    panel.set_ylabel("MB")
    panel.set_ylim(bottom=0)
    panel.set_title("memory of each process")
    if panel.lines:
        panel.legend()


def _more(lines: Sequence[Line], prefix: str) -> list[tuple[str, Any]]:
    """Give what else was seen under names that begin so."""
    return [
        (name.removeprefix(prefix), values)
        for line in lines
        for name, values in line.more.items()
        if name.startswith(prefix)
    ]
