"""What guests see, held against what is settled."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice

from ec2map_sync.ledger import Ledger
from ec2map_sync.operate.nova import NovaProgram
from ec2map_sync.operate.verify import Verdict
from ec2map_sync.rules.ec2id import LEGACY, ON_DEMAND, format_id
from ec2map_sync.rules.names import cell_of
from ec2map_sync.sinks.guests import GuestFinding, GuestView, InstanceFinding
from ec2map_sync.sinks.verify import PATIENT, confirmed

EXAMPLES = 100
"""Findings that are written down; the others are counted."""

ASKED = 100
"""Images of which Nova's own code is asked in each cell; its look-ups read
the whole table."""


def check_guests(
    view: GuestView,
    *,
    advance: Callable[[int], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Verdict:
    """Looks what Nova answers for every image in a cell.

    Missing are images to which a boot would give an id of its own.
    """
    checked = 0

    def count(images: int) -> None:
        nonlocal checked
        checked += images
        advance(images)

    strays = view.strays(count)
    found = confirmed(list(islice(strays, PATIENT)), view.again, sleep)
    kinds = Counter(one.seen.row is None for one in found)
    kinds.update(one.seen.row is None for one in strays)
    return Verdict(
        what="guests",
        name=view.sink.name,
        checked=checked,
        missing=kinds[True],
        foreign=0,
        different=kinds[False],
        findings=[_told(one) for one in found[:EXAMPLES]],
    )


def check_instances(
    view: GuestView,
    put: Callable[[Mapping[str, object]], object],
    *,
    advance: Callable[[int], None],
) -> Verdict:
    """Looks which living instances carry another id than is settled.

    Each is ``put``, so that whose they are can be told.
    """
    verdict = Verdict(what="instances", name=view.sink.name)
    if not view.sink.has_instances:
        verdict.findings = ["there is no table of instances"]
        return verdict
    verdict.checked = 0
    findings: list[str] = []
    carrying, last = 0, None

    def count(instances: int) -> None:
        verdict.checked = (verdict.checked or 0) + instances
        advance(instances)

    for one in view.carriers(count):
        carrying += one.instance.id != last
        last = one.instance.id
        put(_line(view.sink.name, one))
        if len(findings) < EXAMPLES:
            findings.append(carried(one))
    verdict.different = carrying
    verdict.findings = findings
    return verdict


def check_nova(nova: NovaProgram, view: GuestView, ledger: Ledger) -> Verdict:
    """Asks Nova's own code of some images, as a fresh process looks them up.

    :raises NovaSilent: it cannot be asked.
    """
    page = ledger.queries.settled(LEGACY.first, ON_DEMAND.stop, ASKED)
    said = nova.look_up(cell_of(view.sink.name), [uuid for _, uuid in page])
    wrong = [
        (number, uuid, answer)
        for (number, uuid), answer in zip(page, said, strict=True)
        if answer != number
    ]
    return Verdict(
        what="nova",
        name=view.sink.name,
        checked=len(page),
        missing=sum(answer is None for _, _, answer in wrong),
        foreign=0,
        different=sum(answer is not None for _, _, answer in wrong),
        findings=[
            f"Nova answers {_id(answer, 'nothing')} for image {uuid}, and "
            f"{format_id(number)} is settled"
            for number, uuid, answer in wrong
        ],
    )


def carried(one: InstanceFinding) -> str:
    """Tells of an instance in a line."""
    where = ", in its config drive," if one.instance.has_config_drive else ""
    return (
        f"instance {one.instance.uuid} of project {one.instance.project} "
        f"carries {_id(one.carries, 'another id')}{where} of image "
        f"{one.image}, and {format_id(one.number)} is settled"
    )


def _told(one: GuestFinding) -> str:
    settled = f"{format_id(one.number)} is settled"
    if one.seen.row is None:
        return (
            f"image {one.seen.uuid} has no row, so that its next boot makes "
            f"an id, and {settled}"
        )
    seen, where = one.seen.answer, "from its rows"
    if seen == one.number:
        seen, where = one.seen.row, "once memcached forgets"
    elif one.seen.memos:
        where = "as memcached remembers"
    image, told = one.seen.uuid, _id(seen, "nothing")
    return f"guests of image {image} see {told}, {where}, and {settled}"


def _line(sink: str, one: InstanceFinding) -> Mapping[str, object]:
    return {
        "sink": sink,
        "instance": one.instance.uuid,
        "project": one.instance.project,
        "config_drive": one.instance.has_config_drive,
        "image": one.image,
        "carries": None if one.carries is None else format_id(one.carries),
        "settled": format_id(one.number),
    }


def _id(number: int | None, otherwise: str) -> str:
    return otherwise if number is None else format_id(number)
