"""Play a cloud of many regions, without servers, beside the formulas.

    python benchmarks/simulate.py [--quick] [--only NAME]... [--seed N]
        [--output FILE]

An hour of peak load; a region that is cut off for hours and comes back; a
region behind a slow link. Every region has to converge. What is counted
stands beside what `paper.py` expects. The same seed gives the same figures.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # also under PYTHONSAFEPATH

# ruff: noqa: E402
from paper import COMPARE_BYTES, DAY, MICROSECONDS, NOW, Paper, Plan
from played_cloud import Cloud

HOUR = 3600.0
GAP = 1000
"""Microseconds between the stamps of one region; more than any number of a
region, which is what keeps stamps of two regions apart."""

YEAR = 365 * DAY

RESERVE = 60.0
"""Seconds in which all can agree once nothing is lacking."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is to be played."""

    plan: Plan
    seconds: float
    """How long there is peak load; then there is the usual."""
    history: int = 0
    """Claims of the year before, which all regions hold."""
    cut: float = 0.0
    """Seconds for which region 1 is cut off, from ``cut_at`` on."""
    cut_at: float = 60.0
    slow: float = 0.0
    """Bytes per second in and out of region 2; 0 if it is as the others."""
    sample: int = 1
    """One in so many pairs of regions that nothing happens to is played."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was counted."""

    seconds: float
    """That were played."""
    claims: int
    messages: int
    """With claims, as published."""
    deliveries: int
    """Claims times the peers that each of them went to."""
    bytes_per_delivery: float
    """Of a claim on its way to one peer."""
    questions: int
    compare_bytes: int
    claims_in_answers: int
    missing: int
    """Claims that were lacking somewhere when the cut or the peak ended."""
    sent_again: float
    """Claims in answers after the cut, for each one that was missing."""
    longest_queue: int
    """Bytes that waited for one reader."""
    dropped: int
    """Claims that a full queue has dropped, of all queues."""
    held: int
    """Claims in each ledger."""
    settled: float | None = None
    """Seconds until nothing was lacking anywhere; None if it never was."""
    agreed: bool = False
    """Whether in the end all heartbeats agreed."""


def arrivals(
    random: Random, number: int, plan: Plan, peak: float, end: float
) -> Iterator[int]:
    """Make the stamps of a region's claims."""
    at, last = 0.0, NOW
    while True:
        usual = 1 if at < peak else plan.peak
        at += random.expovariate(plan.rate / usual)
        if at >= end:
            return
        stamp = NOW + int(at * MICROSECONDS)
        last = max(last + GAP, stamp - stamp % GAP + number)
        yield last


def play(scene: Scene, seed: int) -> Outcome:
    """Play a scene."""
    plan, random = scene.plan, Random(seed)
    end = max(scene.seconds, scene.cut_at + scene.cut) + HOUR
    made = [
        list(arrivals(random, number, plan, scene.seconds, end))
        for number in range(1, plan.regions + 1)
    ]
    step = int(YEAR * MICROSECONDS) // max(scene.history, 1)
    history = range(NOW - step * (scene.history + 1), NOW - step, step)
    cloud = Cloud(plan, made, seed=seed, sample=scene.sample, history=history)
    if scene.slow:
        cloud.slow_down(2, scene.slow)
    if scene.cut:
        cloud.run(scene.cut_at)
        cloud.isolate(1)
        cloud.run(scene.cut_at + scene.cut)
        missing = cloud.holes()
        before = cloud.counts["claims in answers"]
        cloud.reconnect(1)
        settled = cloud.settle(end - cloud.now - RESERVE)
        sent = cloud.counts["claims in answers"] - before
        cloud.run(max(scene.seconds, cloud.now))
        outcome = _outcome(cloud, missing, sent)
    else:
        cloud.run(scene.seconds)
        outcome = _outcome(cloud, cloud.holes(), 0)
        settled = cloud.settle(end - cloud.now - RESERVE)
    cloud.run(cloud.now + RESERVE)
    return replace(outcome, settled=settled, agreed=cloud.agree())


def _outcome(cloud: Cloud, missing: int, sent: int) -> Outcome:
    places = {
        number: cloud.universe.streams[number].upto(cloud.universe.now)
        for number in cloud.regions
    }
    claims = sum(places.values())
    written = sum(cloud.feeds[n].messages(0, p) for n, p in places.items())
    size = sum(cloud.feeds[n].bytes(0, p) for n, p in places.items())
    counts, peers = cloud.counts, cloud.plan.peers
    return Outcome(
        seconds=cloud.now,
        claims=claims,
        messages=written,
        deliveries=claims * peers,
        bytes_per_delivery=size / claims,
        questions=counts["questions"],
        compare_bytes=counts["bytes asked"] + counts["bytes answered"],
        claims_in_answers=counts["claims in answers"],
        missing=missing,
        sent_again=sent / missing if missing else 0.0,
        longest_queue=cloud.backlog,
        dropped=counts["claims dropped"],
        held=cloud.universe.all.upto(cloud.universe.now),
    )


def expected(scene: Scene) -> dict[str, float]:
    """Give what the formulas say of what is counted, by its name."""
    paper, plan = Paper(scene.plan), scene.plan
    found = {"bytes_per_delivery": paper.claim_bytes}
    if not scene.cut and not scene.slow:
        seconds = scene.seconds * plan.regions
        questions = paper.questions_in(scene.seconds) * plan.regions
        found |= {
            "claims": plan.rate * seconds,
            "messages": paper.published * seconds,
            "questions": questions,
            "compare_bytes": questions * COMPARE_BYTES,
        }
    if scene.cut:
        # It lacks what all others have claimed, and each of them what it has.
        found["missing"] = 2 * plan.peers * plan.rate * scene.cut
        found["settled"] = paper.catch_up(scene.cut)
    return found


NORMAL = {
    "peak": Scene(
        plan=Plan(regions=64, images_per_day=100_000, peak=10),
        seconds=HOUR,
        history=1_000_000,
        sample=256,
    ),
    "cut": Scene(
        plan=Plan(regions=64, images_per_day=20_000),
        seconds=2 * HOUR,
        history=1_000_000,
        cut=2 * HOUR,
        sample=1024,
    ),
    "slow": Scene(
        plan=Plan(regions=64, images_per_day=20_000, peak=10, trip=0.3),
        seconds=200,
        slow=250e3,
        sample=1024,
    ),
}
QUICK = {
    "peak": Scene(
        plan=Plan(regions=8, images_per_day=100_000, peak=10),
        seconds=120,
        history=100_000,
    ),
    "cut": Scene(
        plan=Plan(regions=6, images_per_day=100_000, peak=10),
        seconds=400,
        cut=300,
    ),
    "slow": Scene(
        plan=Plan(regions=6, images_per_day=100_000, peak=10, trip=0.3),
        seconds=120,
        slow=15e3,
    ),
}


def written(name: str, scene: Scene, outcome: Outcome, seconds: float) -> str:
    """Write an outcome for people."""
    lines = [f"{name}: {scene.plan.regions} regions, {seconds:.0f} s to play"]
    paper = expected(scene)
    for what, value in asdict(outcome).items():
        shown = str(value)
        if value is not None and not isinstance(value, bool):
            shown = f"{value:,.2f}".removesuffix(".00")
        beside = f"  on paper {paper[what]:,.2f}" if what in paper else ""
        lines.append(f"  {what:20} {shown:>16}{beside}")
    return "\n".join(lines)


def main() -> None:
    """Play scenes, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller scenes")
    parser.add_argument("--only", action="append", choices=NORMAL)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    scenes = QUICK if options.quick else NORMAL
    outcomes = {}
    for name in options.only or scenes:
        begun = time.monotonic()
        outcome = play(scenes[name], options.seed)
        outcomes[name] = asdict(outcome) | {"paper": expected(scenes[name])}
        seconds = time.monotonic() - begun
        print(written(name, scenes[name], outcome, seconds), flush=True)
    if options.output:
        options.output.write_text(json.dumps(outcomes, indent=1) + "\n")


if __name__ == "__main__":
    main()
