"""The judge: what must be so when all is quiet, and what always."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from as_settled import CLAIMS, claim_of, differing, numbers_in, settled

from ec2map_sync.ledger import PUBLISHING
from ec2map_sync.monitor.status import Examination
from ec2map_sync.operate.verify import Verdict, check_ledger, check_sink
from ec2map_sync.region import Region as Opened
from ec2map_sync.rules.claims import Claim, print_of
from ec2map_sync.rules.ec2id import Kind, Scheme, kind_of, parse_id
from ec2map_sync.rules.names import EC2API
from ec2map_sync.settings.services import loops
from ec2map_sync.sinks.verify import SinkCheck
from played import ec2api
from played.region import Region

_DIVERGENCES = "SELECT number, image FROM divergences"


def read(region: Region, statement: str) -> list[tuple[Any, ...]]:
    """Reads a ledger as it is, past the package."""
    with closing(sqlite3.connect(region.ledger.path)) as connection:
        return list(connection.execute(statement))


def complaints(regions: Sequence[Region], scheme: Scheme) -> Iterator[str]:
    """Says what is not as it must be when all is quiet."""
    rows = {one.name: read(one, CLAIMS) for one in regions}
    claims = {n: [claim_of(r) for r in found] for n, found in rows.items()}
    common, mapping = settled(
        (c for found in claims.values() for c in found), scheme
    )
    for region in regions:
        name = region.name
        own = {claim.image: claim for claim in claims[name]}
        yield from differing(own, common, f"2: the claims of {name}")
        numbers = numbers_in(rows[name])
        yield from differing(numbers, mapping, f"2: the numbers of {name}")
        yield from _untold(region, common)
        yield from _totals(region, common)
        for cell in region.cells:
            found = {n: uuid.lower() for n, uuid in cell.rows().items()}
            ours = {number: image for image, number in mapping.items()}
            expected = ours | cell.made  # Nova's own stay
            yield from differing(
                found, expected, f"1, 5: the rows of {name}, {cell.name}"
            )
        yield from _items(region, "1, 5:", common, mapping)
        yield from _undiverged(region, mapping)
        yield from _remembered(region, mapping)
        yield from _behind(region)


def unwritten(region: Region) -> Iterator[str]:
    """Says what a Writer has not written, though it has read of it."""
    rows = read(region, CLAIMS)
    numbers = numbers_in(rows)
    ours = {number: image for image, number in numbers.items()}
    behind = {at for at, _ in _lagging(region)}
    if EC2API not in behind:
        claims = {row[0]: claim_of(row) for row in rows}
        what = "1: the Writer has read all, but"
        yield from _items(region, what, claims, numbers)
    for cell in region.cells:
        if cell.sink not in behind:
            yield from differing(
                {n: uuid.lower() for n, uuid in cell.rows().items()},
                ours | cell.made,
                f"1: the Writer has read all, but the rows of {region.name}, "
                f"{cell.name}",
            )


def unhealthy(region: Region) -> Iterator[str]:
    """Says what `status` finds amiss, as the package itself looks."""
    host = next(host for host in region.hosts if host.up)
    opened = Opened(host.config)
    try:
        examination = Examination(
            opened.ledger,
            opened.bus,
            sinks := opened.sink_names,
            expected=loops(host.config, sinks),
            clock=host.now,
        )
        for line in examination.lines():
            if not line.healthy:
                yield (
                    f"status of {region.name}: {line.what} {line.name}: "
                    f"{line.state} ({line.last_error})"
                )
    finally:
        opened.close()


def contradictions(region: Region) -> Iterator[str]:
    """Says what `verify` finds in the ledger and the cells."""
    host = next(host for host in region.hosts if host.up)
    opened = Opened(host.config)
    try:
        verdicts = [
            check_ledger(
                opened.ledger,
                region.name,
                repair=False,
                advance=lambda _rows: None,
            ),
            *(
                check_sink(
                    SinkCheck(opened.ledger, sink),
                    sink.name,
                )
                for sink in opened.sinks
            ),
        ]
        for verdict in verdicts:
            if verdict.what == "sink":
                yield from _unlike(region, verdict)
            elif verdict.missing or verdict.different:
                yield f"verify of {region.name}: {verdict}"
    finally:
        opened.close()


@dataclass
class Memory:
    """What a region held in the evening, for the next one."""

    numbers: dict[str, int | None]


def remembered(region: Region) -> Memory:
    """Returns what a region holds now."""
    return Memory({row[0]: row[7] for row in read(region, CLAIMS)})


def unsteady(
    region: Region, before: Memory, but_for: Collection[str]
) -> Iterator[str]:
    """Says which numbers of yesterday are others today.

    Who claims today has heard of all of yesterday, and stamps it later. What
    an operator adopts is another matter.
    """
    now = remembered(region).numbers
    for image, number in before.numbers.items():
        if image in but_for:
            continue
        if number is not None and now.get(image) != number:
            yield (
                f"3: {region.name}: {image} had {number} in the evening, and "
                f"has {now.get(image)} now"
            )


def strangers(
    regions: Sequence[Region], images: Collection[str]
) -> Iterator[str]:
    """Says which images have claims though nobody has them."""
    for region in regions:
        for (image,) in read(region, "SELECT image FROM claims"):
            if image not in images:
                yield f"6: {region.name} has a claim of {image}: whose?"


def overfull(regions: Sequence[Region]) -> Iterator[str]:
    """Says which queues have held more than they may."""
    for region in regions:
        for queue in region.broker.queues.values():
            limit = queue.arguments.get("x-max-length-bytes")
            if limit is not None and queue.most_bytes > limit:
                yield f"8: {queue.name} held {queue.most_bytes} bytes"


def _kinds(claims: Mapping[str, Claim]) -> dict[str, Kind]:
    return {i: claim.kind.kind for i, claim in claims.items() if claim.kind}


def _items(
    region: Region,
    what: str,
    claims: Mapping[str, Claim],
    numbers: Mapping[str, int],
) -> Iterator[str]:
    """Says which rows ec2-api has that it must not have, or lacks."""
    api = region.ec2api
    if api is not None:
        expected = ec2api.expected(api.own, numbers, _kinds(claims))
        what = f"{what} the rows of {region.name}, ec2-api"
        yield from differing(api.rows(), expected, what)


def _remembered(region: Region, numbers: Mapping[str, int]) -> Iterator[str]:
    """Says of which images guests are told what is neither settled nor read.

    Nova reads the first of an image's rows, which may be its own.
    """
    ids = region.memcached.ids if region.memcached is not None else {}
    for image, number in ids.items():
        read = {cell.first_of(image.lower()) for cell in region.cells}
        if number not in read | {numbers.get(image.lower())}:
            yield (
                f"1: guests of {region.name} are told {number} of {image}, "
                f"and it has {read}"
            )


def _undiverged(region: Region, numbers: Mapping[str, int]) -> Iterator[str]:
    """Says which of ec2-api's own rows operators are not told of."""
    if region.ec2api is not None:
        told = read(region, f"{_DIVERGENCES} WHERE sink = '{EC2API}'")
        expected = ec2api.diverging(region.ec2api.own, numbers)
        for one in sorted(expected ^ {*told}):
            yield f"5: {region.name} tells of {sorted(told)}: what of {one}?"


def _shut_out(region: Region, sink: str) -> set[int]:
    """Returns numbers in whose place a sink has nobody, or another image.

    Rows of Nova's and of ec2-api's own stay; and an image that has one of
    ec2-api's has none of ours there.
    """
    rows = read(region, CLAIMS)
    numbers = numbers_in(rows)
    for cell in region.cells:
        if cell.sink == sink:
            made = cell.made
            return {n for i, n in numbers.items() if made.get(n, i) != i}
    assert region.ec2api is not None
    kinds = _kinds({row[0]: claim_of(row) for row in rows})
    found = {
        (parse_id(i)[1], uuid) for i, uuid in region.ec2api.rows().items()
    }
    return {
        number
        for image, number in numbers.items()
        if image in kinds and (number, image) not in found
    }


def _unlike(region: Region, verdict: Verdict) -> Iterator[str]:
    """Says what `verify` has seen of a sink that is not so, or has not.

    What nothing is settled for, and is none of ours, is foreign.
    """
    wrong = _shut_out(region, verdict.name)
    found = {one.number for one in verdict.differences if one.settled}
    amiss = (verdict.missing or 0) + (verdict.different or 0)
    if wrong != found or amiss != len(found):
        yield f"verify of {region.name}: {verdict}, and not {sorted(wrong)}"


def _untold(region: Region, common: Mapping[str, Claim]) -> Iterator[str]:
    for image, form in region.told.items():
        claim = common.get(image.lower())
        if claim is None:
            yield f"4: {region.name} was told of {image}: no claim"
        elif kind_of(form) and claim.kind is None:
            yield f"4: {region.name} was told {form} of {image}: no kind"


def _totals(region: Region, common: Mapping[str, Claim]) -> Iterator[str]:
    found = read(region, "SELECT total_count, total_sum FROM head")[0]
    whole = print_of(common.values())
    expected = (whole.count, whole.sum)
    if tuple(map(int, found)) != tuple(map(int, expected)):
        yield f"7: the total of {region.name}: {found}, not {expected}"


def _behind(region: Region) -> Iterator[str]:
    """Says which readers of the feeds have something left to read."""
    for name, where in _lagging(region):
        yield f"{region.name}: {name} is at {where}"


def _lagging(region: Region) -> Iterator[tuple[str, str]]:
    """Names readers of feeds that are not at the end, and says where."""
    own = read(region, "SELECT max(own_revision) FROM claims")[0][0] or 0
    numbers = read(region, "SELECT max(revision) FROM numbers")[0][0] or 0
    at = dict(read(region, "SELECT name, revision FROM cursors"))
    wanted = {PUBLISHING: own}
    wanted |= {sink.sink: numbers for sink in region.sinks}
    for name, newest in wanted.items():
        if at.get(name, 0) < newest:
            yield name, f"{at.get(name)} of {newest}"
