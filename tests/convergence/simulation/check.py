"""The judge: settles all claims from scratch and compares every region."""

from collections.abc import Iterator, Mapping, Sequence

from ec2map_sync.ledger import PUBLISHING
from ec2map_sync.rules.claims import Claim, Print, join_all, print_of
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.settle import settle
from simulation.region import Cell, Region, Wrong


def at_rest(regions: Sequence[Region]) -> bool:
    """Tell whether nothing is left to do."""
    return next(unrest(regions), None) is None


def unrest(regions: Sequence[Region]) -> Iterator[str]:
    """Say what is left to do."""
    totals = {
        region.name: region.eye.execute(
            "SELECT total_count, total_sum FROM head"
        ).fetchone()
        for region in regions
    }
    if len(set(totals.values())) > 1:
        yield f"the totals differ: {totals}"
    for region in regions:
        if region.notifications:
            yield f"{region.name} has notifications that it has not taken"
        for host in region.hosts:
            if any(sweep.has_work() for sweep in host.sweeps):
                yield f"{host.name} has not audited its sinks yet"
        yield from _behind(region)


def _behind(region: Region) -> Iterator[str]:
    """Say which cursors have something left to read."""
    for name in (PUBLISHING, *(cell.sink.name for cell in region.cells)):
        if not region.has_read(name):
            yield f"{region.name}: {name} has something left to read"


def check(regions: Sequence[Region], scheme: Scheme) -> None:
    """Compare every region with what all claims together give.

    :raises Wrong: somebody differs.
    """
    claims = join_all(c for r in regions for c in r.claims.values())
    mapping = settle(claims.values(), scheme)
    for region in regions:
        _check_set(region, claims)
        _check_mapping(region, mapping, scheme)
        _check_agreement(region, regions)
        for reason in _behind(region):
            raise Wrong(reason)
        for cell in region.cells:
            _check_rows(region, cell, mapping)


def _check_set(region: Region, claims: Mapping[str, Claim]) -> None:
    region.observe()
    _same(region.claims, claims, f"the claims of {region.name}")
    head = region.ledger.head()
    whole = print_of(claims.values())
    _equal(head.total, whole, f"the total of {region.name}")
    stamps = sorted(claim.claimed_at for claim in claims.values())
    for until in stamps[:: max(1, len(stamps) // 4)]:
        before = print_of(c for c in claims.values() if c.claimed_at < until)
        found: Print = region.ledger.print_before(until)[1]
        _equal(found, before, f"the print of {region.name} before {until}")


def _check_mapping(
    region: Region, mapping: Mapping[str, int], scheme: Scheme
) -> None:
    numbers = {i: n for i, n in region.numbers.items() if n is not None}
    _same(numbers, mapping, f"the numbers of {region.name}")
    held = region.ledger.numbered(range(1, scheme.band.stop)).values()
    holders = {h.uuid.lower(): h.number for h in held if h.uuid}
    _same(holders, mapping, f"the holders of {region.name}")


def _check_agreement(region: Region, regions: Sequence[Region]) -> None:
    """Make sure that a region knows that it agrees with the others."""
    states = region.ledger.journal.peer_states()
    for peer in regions:
        if peer is region or region.network.loses_questions:
            continue
        state = states.get(peer.name)
        if state is None or state.agrees_until is None or state.differs_since:
            raise Wrong(f"{region.name} does not know that {peer.name} agrees")


def _check_rows(
    region: Region,
    cell: Cell,
    mapping: Mapping[str, int],
) -> None:
    """Make sure that a cell holds the mapping, and what was not ours.

    A restored ledger may have forgotten that it has inserted rows which
    their numbers do not show to be ours: those stay, as divergence.
    """
    rows = cell.rows()
    name = f"{region.name}, {cell.sink.name}"
    _same(
        {n: rows.get(n) for n in cell.foreign},
        cell.foreign,
        f"rows of others in {name}",
    )
    others = dict(cell.foreign)
    if region.restored:
        others = {
            number: uuid
            for number, uuid in rows.items()
            if not region.scheme.could_derive(uuid, number)
        }
    # How a UUID is spelled is a matter of each region's Glance.
    found = {number: uuid.lower() for number, uuid in rows.items()}
    settled = {number: image for image, number in mapping.items()}
    others = {number: uuid.lower() for number, uuid in others.items()}
    _same(found, settled | others, f"the rows of {name}")


def _same(
    found: Mapping[object, object],
    expected: Mapping[object, object],
    what: str,
) -> None:
    for key in found.keys() | expected.keys():
        one, other = found.get(key), expected.get(key)
        _equal(one, other, f"{what} ({key})")


def _equal(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise Wrong(f"{what}: {found}, and not {expected}")
