"""Ledgers and sinks as files: written down, checked, and joined."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.rehearsal import Moving
from ec2map_sync.ledger.snapshot import Snapshot
from ec2map_sync.operate.replay import Advance
from ec2map_sync.protocol import exports
from ec2map_sync.protocol.canonical import (
    claim_of_line,
    line_of,
    with_content,
    without_content,
)
from ec2map_sync.protocol.exports import BadExport, Export, Exported
from ec2map_sync.rules.claims import BEGINNING, Claim
from ec2map_sync.rules.ec2id import Kind, Scheme
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sinks import Sink
from ec2map_sync.sql.statements import batched

AT_ONCE = 2000
"""Claims of a file that are recorded together."""

_UNKNOWN: Mapping[str, str] = {}

Put = Callable[[bytes], object]
"""Takes some more of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What joining a file has done, or would do."""

    claims: int
    news: int
    moved: int
    moves: tuple[Moving, ...] = ()
    """Which ids would move; not told of those that have."""


def export(
    snapshot: Snapshot,
    region: str,
    put: Put,
    advance: Advance,
    contents: Mapping[str, str] = _UNKNOWN,
) -> None:
    """Writes all claims of a ledger down, in order.

    ``contents`` are hashes of what images hold, as far as they are known.
    """

    def lines() -> Iterator[Iterable[str]]:
        for page in snapshot.pages():
            yield [
                with_content(line_of(claim), contents.get(claim.image))
                for claim in page
            ]
            advance(len(page))

    head = Export(
        of=Exported.LEDGER,
        region=region,
        scheme=snapshot.scheme.fingerprint,
        at=wall_clock(),
        count=snapshot.count,
    )
    exports.write(put, head, lines())


def claims_of(file: BinaryIO, name: str) -> Iterator[Claim]:
    """Reads the claims of an export; none is to be believed before the end.

    :raises BadExport: the file is no whole export of a ledger, as written.
    """
    return (claim for claim, _ in described(file, name))


def described(file: BinaryIO, name: str) -> Iterator[tuple[Claim, str | None]]:
    """Reads the claims of an export, and the hashes of contents it tells.

    :raises BadExport: as `claims_of`.
    """
    last, now = BEGINNING, wall_clock()

    def parse(text: str) -> tuple[Claim, str | None]:
        line, content = without_content(text)
        return claim_of_line(line, now), content

    for at, (claim, content) in enumerate(exports.read(file, name, parse)):
        if claim.bound <= last:
            raise BadExport(f"{name}, line {at + 2}: not in order")
        last = claim.bound
        yield claim, content


def check(
    file: BinaryIO, name: str, scheme: Scheme, advance: Advance
) -> Export:
    """Reads an export from end to end; returns what it is of.

    :raises BadExport: the file is no whole export of a ledger, as written,
        or its ids are derived otherwise than here.
    """
    found = exports.read_first(file, name)
    if found.of is not Exported.LEDGER:
        raise BadExport(f"{name} is an export of a {found.of}, not a ledger")
    if found.scheme != scheme.fingerprint:
        raise BadExport(
            f"{name} was written under scheme {found.scheme}, and hash_key "
            f"and band here give {scheme.fingerprint}: [ec2_ids] hash_key "
            "has to be the same in all regions"
        )
    for some in batched(claims_of(file, name)):
        advance(len(some))
    return found


def take(
    ledger: Ledger, file: BinaryIO, name: str, advance: Advance
) -> Transfer:
    """Joins the claims of an export that was checked, as if heard."""
    claims = news = moved = 0
    for some in batched(claims_of(file, name), AT_ONCE):
        recorded = ledger.record(some)
        claims += len(some)
        news += recorded.news
        moved += recorded.moved
        advance(len(some))
    return Transfer(claims=claims, news=news, moved=moved)


def _row_line(row: SinkRow) -> str:
    fields = {"number": row.number, "uuid": row.uuid}
    if row.kind:
        fields["kind"] = row.kind.value
    return json.dumps(fields, separators=(",", ":"))


def _row_of(line: str) -> SinkRow:
    try:
        fields = json.loads(line)
        kind = fields.get("kind")
        return SinkRow(
            number=int(fields["number"]),
            uuid=str(fields["uuid"]),
            kind=Kind(kind) if kind else None,
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadMessage("no row of a sink") from error


def export_sink(
    sink: Sink, region: str, scheme: Scheme, put: Put, advance: Advance
) -> int:
    """Writes all rows of a sink down, by their numbers; returns how many."""
    count = last = 0
    with tempfile.TemporaryFile("w+") as kept:
        while rows := sink.scan(last, AT_ONCE):
            kept.writelines(f"{_row_line(row)}\n" for row in rows)
            count, last = count + len(rows), rows[-1].number
            advance(len(rows))
        kept.seek(0)
        head = Export(
            of=Exported.SINK,
            region=region,
            scheme=scheme.fingerprint,
            at=wall_clock(),
            count=count,
            sink=sink.name,
        )
        lines = (line.removesuffix("\n") for line in kept)
        exports.write(put, head, batched(lines))
    return count


def rows_of(file: BinaryIO, name: str) -> Iterator[SinkRow]:
    """Reads the rows of an export; none is to be believed before the end.

    :raises BadExport: the file is no whole export, as written.
    """
    yield from exports.read(file, name, _row_of)


def rehearse(
    ledger: Ledger, file: BinaryIO, name: str, advance: Advance
) -> Transfer:
    """Returns what `take` would do."""
    claims = 0
    with ledger.snapshot() as snapshot:
        rehearsal = snapshot.rehearsal()
        for some in batched(claims_of(file, name), AT_ONCE):
            rehearsal.join(some)
            claims += len(some)
            advance(len(some))
        moves = tuple(rehearsal.moves())
    return Transfer(
        claims=claims, news=rehearsal.news, moved=len(moves), moves=moves
    )
