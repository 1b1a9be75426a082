"""The checker: what must be so when all is quiet, and what always.

It reads ledgers and cells by SQL, and settles from scratch.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from announcer import Announced
from as_settled import CLAIMS, claim_of, differing, numbers_in, settled
from commands import run_program
from fleet import Region
from one_set import SCHEME

from ec2map_sync.monitor.status import Examination, Line
from ec2map_sync.region import Region as Opened
from ec2map_sync.rules.claims import Claim, print_of
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings.loading import load
from ec2map_sync.settings.services import loops

TOTAL = "SELECT total_count, total_sum FROM head"

BOUND = 80.0
"""Seconds: status finds out in 20 that a loop is silent, and bears for 60
that a sink is behind, or that peers differ."""
BOUND_OF_EDITS = 120.0
"""Seconds after which an edited ledger, or a restored cell, is noticed."""

LOST, DOUBLED, CHANGED = "lost", "doubled", "changed without a record"
STATUS, DIFFERENT, STRANGE = "status wrong", "not as settled", "of nobody"
LOGGED, UNRULY = "logged as a mistake", "does not end as told"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it must be."""

    what: str
    text: str


@dataclass(frozen=True)
class Seen:
    """What a region holds."""

    claims: dict[str, Claim]
    numbers: dict[str, int]
    total: tuple[int, int]
    cells: dict[str, list[tuple[int, str]]]


def seen(region: Region) -> Seen:
    """Read a region as it is."""
    rows = region.sql("ledger", CLAIMS)
    ((count, total),) = region.sql("ledger", TOTAL)
    return Seen(
        {str(row[0]): claim_of(row) for row in rows},
        numbers_in(rows),
        (int(str(count)), int(str(total))),
        {cell: region.rows(cell) for cell in region.cells},
    )


class Checker:
    """Looks at all regions, and remembers what it has seen."""

    def __init__(
        self, regions: Sequence[Region], announced: Announced
    ) -> None:
        self.moves = 0
        """How many were recorded, as far as it has seen."""
        self._regions = regions
        self._announced = announced
        self._numbers: dict[str, dict[str, int]] = {}
        self._last_moves: dict[str, int] = {}

    def complaints(self) -> Iterator[Finding]:
        """Say what is not as it must be when all is quiet."""
        found = {r.name: seen(r) for r in self._regions}
        common, mapping = settled(
            (c for s in found.values() for c in s.claims.values()), SCHEME
        )
        rows = sorted((n, common[i].uuid) for i, n in mapping.items())
        for region in self._regions:
            one = found[region.name]
            yield from self._lost(region.name, one)
            yield from _doubled(region.name, one)
            yield from self._strange(region.name, one)
            name = region.name
            yield from _differing(name, "claims", one.claims, common)
            yield from _differing(name, "numbers", one.numbers, mapping)
            for cell, held in one.cells.items():
                yield from _differing(name, cell, dict(held), dict(rows))
            whole = print_of(one.claims.values())
            if one.total != (whole.count, whole.sum):
                yield Finding(DIFFERENT, f"{name}: the total is wrong")
            yield from self._changed(region, one.numbers)

    def remember(self) -> None:
        """Keep what images have now, to see what has become of it."""
        for region in self._regions:
            rows = region.sql("ledger", CLAIMS)
            self._numbers[region.name] = numbers_in(rows)
            ((last,),) = region.sql("ledger", "SELECT max(id) FROM moves")
            self._last_moves[region.name] = int(str(last or 0))
        ((moves,),) = self._regions[0].sql(
            "ledger", "SELECT count(*) FROM moves"
        )
        self.moves = max(self.moves, int(str(moves)))

    def _lost(self, name: str, one: Seen) -> Iterator[Finding]:
        images = set(self._announced.confirmed)
        for image in sorted(images - one.claims.keys()):
            yield Finding(LOST, f"{name} has no claim of {image}")
        for cell, rows in one.cells.items():
            for image in sorted(images - {uuid for _, uuid in rows}):
                yield Finding(LOST, f"{name}, {cell}: no row of {image}")

    def _strange(self, name: str, one: Seen) -> Iterator[Finding]:
        for image in sorted(one.claims.keys() - self._announced.tried):
            yield Finding(STRANGE, f"{name} has a claim of {image}: whose?")

    def _changed(
        self, region: Region, numbers: Mapping[str, int]
    ) -> Iterator[Finding]:
        before = self._numbers.get(region.name, {})
        last = self._last_moves.get(region.name, 0)
        paths: dict[str, list[tuple[int, int | None]]] = {}
        for image, old, new in region.sql(
            "ledger",
            f"SELECT image, old, new FROM moves WHERE id > {last} ORDER BY id",
        ):
            step = (int(str(old)), None if new is None else int(str(new)))
            paths.setdefault(str(image), []).append(step)
        for image, number in before.items():
            now = numbers.get(image)
            if now == number:
                continue
            path = paths.get(image, [])
            if not path or path[-1][1] != now or path[0][0] != number:
                yield Finding(
                    CHANGED,
                    f"{region.name}: {image} went from {number} to {now}; "
                    f"moves: {path}",
                )


def _doubled(name: str, one: Seen) -> Iterator[Finding]:
    for cell, rows in one.cells.items():
        counted = Counter(uuid for _, uuid in rows)
        for image, count in counted.items():
            if count > 1:
                text = f"{name}, {cell}: {count} rows of {image}"
                yield Finding(DOUBLED, text)


def _differing(
    name: str, where: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any]
) -> Iterator[Finding]:
    for text in differing(found, wanted, f"{name}, {where}"):
        yield Finding(DIFFERENT, text)


class Watch:
    """Asks status of every region, as the package itself looks."""

    def __init__(
        self, regions: Sequence[Region], announced: Announced
    ) -> None:
        self.looks = 0
        self.unhealthy = 0
        self.edited: dict[str, float] = {}
        """When ledger or cells of a region were last changed by hand."""
        self._announced = announced
        self._rows: dict[
            tuple[str, str], tuple[set[str], dict[str, float]]
        ] = {}
        """Of each cell, what it has ever had, and what it lacks since when."""
        self._seen: dict[str, float] = {}
        """When an image's row was seen first, anywhere."""
        self._opened = {
            r.name: Opened(load([], files=[str(r.config_file)]))
            for r in regions
        }

    def close(self) -> None:
        """Leave the databases."""
        for opened in self._opened.values():
            opened.close()

    def amiss(self, region: str) -> list[Line]:
        """Give the lines of status that are not healthy."""
        return [line for line in self.lines(region) if not line.healthy]

    def lines(self, region: str) -> list[Line]:
        """Give the lines of status."""
        opened = self._opened[region]
        sinks = opened.sink_names
        examination = Examination(
            opened.ledger,
            opened.bus,
            sinks,
            expected=loops(opened.config, sinks),
            clock=wall_clock,
        )
        return examination.lines()

    def look(self, region: Region) -> Iterator[Finding]:
        """Say what status does not say, though it should by now."""
        began = time.monotonic()
        self.looks += 1
        healthy = not self.amiss(region.name)
        self.unhealthy += not healthy
        bound = BOUND
        if began - self.edited.get(region.name, -1e9) < 2 * BOUND_OF_EDITS:
            bound += BOUND_OF_EDITS
        for cell in region.cells:
            since = self._missing(region, cell, began)
            late = sorted(i for i, at in since.items() if at < began - bound)
            if late and healthy:
                yield Finding(
                    STATUS,
                    f"{region.name} is healthy, and {cell} lacks for "
                    f"{bound:.0f} s and more {late[:3]} ({len(late)} in all)",
                )

    def _missing(
        self, region: Region, cell: str, now: float
    ) -> dict[str, float]:
        """Give the images that a cell lacks, and since when.

        It is to have those of its own Glance, and those that any cell had.
        """
        had, gone = self._rows.setdefault((region.name, cell), (set(), {}))
        rows = set(region.uuids(cell))
        for image in rows:
            self._seen.setdefault(image, now)
        told = self._seen | self._announced.of(region.name, now)
        had |= rows
        for image in rows & gone.keys():
            del gone[image]
        return {
            image: gone.setdefault(image, now) if image in had else at
            for image, at in told.items()
            if image not in rows
        }


def asked(region: Region) -> Iterator[Finding]:
    """Say what the program `ec2map-sync status` finds amiss."""
    config = "--config-file", str(region.config_file)
    done = run_program("status", "-f", "json", *config)
    if done.code:
        yield Finding(STATUS, f"{region.name} at rest: {done}")
        return
    told = json.loads(done.stdout)
    if not any(line["state"] == "works" for line in told):
        yield Finding(STATUS, f"{region.name}: nothing works: {told}")


class Logs:
    """What agents log as mistakes of ours: an outage is no such thing."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._read = dict.fromkeys(paths, 0)

    def news(self) -> Iterator[Finding]:
        """Say what has a traceback, once."""
        for path, place in self._read.items():
            with path.open("rb") as log:
                log.seek(place)
                said = log.read().rpartition(b"\n")[0]
            self._read[path] = place + len(said)
            lines = said.decode(errors="replace").splitlines()
            for before, line in pairwise(["", *lines]):
                if TRACEBACK.search(line):
                    yield Finding(LOGGED, f"{path.name}: {before}")


TRACEBACK = re.compile(r"^(?:\S+ \S+ \d+ ERROR ec2map_sync\S* )?Traceback \(")
