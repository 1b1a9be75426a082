"""ec2map-sync rehearse."""

import sys
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, TypeVar

from ec2map_sync.cli.base import (
    NOT_IN_ORDER,
    Arguments,
    BadArgument,
    Lister,
    Parser,
    Rows,
)
from ec2map_sync.cli.files import readable
from ec2map_sync.operate import transfer
from ec2map_sync.operate.rehearse import (
    CHANGES,
    Foreseen,
    Happening,
    Joining,
    Side,
)
from ec2map_sync.protocol import exports
from ec2map_sync.protocol.exports import BadExport, Export, Exported
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.names import is_cell
from ec2map_sync.rules.rows import SinkRow

T = TypeVar("T")


class Rehearse(Lister):
    """Tell what would happen if ledgers joined, from exports of them.

    Needs no database, only [ec2_ids] hash_key, and writes nothing. A line
    is about an id that is in use and would become another (move: another
    number; kind: another prefix), about what would be the cause (collision
    of two images that have one number, adoption of two ids for one image),
    about images of two regions with the same content under different UUIDs
    (where 'ledger export --contents' has asked Glance; else that is said to
    be unknown), or about rows of the cells whose exports are given with
    --sink: those that would be removed or replaced, and those of somebody
    else that would keep ours from being written. Of a file that was written
    under another hash_key only this is told (scheme).

    Exit code 1 if an id in use would change.

    Example: ec2map-sync rehearse /var/backups/one /var/backups/two
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "files",
            metavar="FILE",
            type=Path,
            nargs="+",
            help="an export of a region's ledger; of each region, one",
        )
        parser.add_argument(
            "--sink",
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help="an export of a cell of one of these regions; may be "
            "repeated",
        )

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Rehearses."""
        claims = [
            self._read(path, Exported.LEDGER, transfer.described)
            for path in parsed_args.files
        ]
        rows = [
            self._read(path, Exported.SINK, transfer.rows_of)
            for path in parsed_args.sink
        ]
        foreign = [
            Foreseen(what=Happening.SCHEME, beside=export.region)
            for export, _ in (*claims, *rows)
            if export.scheme != self.config.scheme.fingerprint
        ]
        found = foreign or list(self._foreseen(claims, rows))
        if any(one.what in CHANGES for one in found):
            self.exit_code = NOT_IN_ORDER
        columns = ("what", "image", "id", "with", "then")
        values = attrgetter("what.value", "image", "id", "beside", "then")
        return columns, map(values, found)

    def _read(
        self,
        path: Path,
        of: Exported,
        read: Callable[[BinaryIO, str], Iterator[T]],
    ) -> tuple[Export, list[T]]:
        """Reads a file; nothing of it where its scheme is another."""
        name, scheme = str(path), self.config.scheme.fingerprint
        try:
            with readable(path, sys.stdin.buffer) as file:
                found = exports.read_first(file, name)
                if found.of is not of:
                    raise BadExport(f"{name} is an export of a {found.of}")
                if found.scheme == scheme:
                    return found, list(read(file, name))
        except OSError as error:
            raise BadArgument(f"{name}: {error.strerror}") from error
        self.note(f"{name}: scheme {found.scheme}, and here {scheme}")
        return found, []

    def _foreseen(
        self,
        ledgers: Sequence[tuple[Export, list[tuple[Claim, str | None]]]],
        sinks: Sequence[tuple[Export, list[SinkRow]]],
    ) -> Iterator[Foreseen]:
        sides: dict[str, Side] = {}
        for export, claims in ledgers:
            if export.region in sides:
                raise BadArgument(f"two exports are of {export.region}")
            sides[export.region] = Side.of(
                {claim.image: claim for claim, _ in claims},
                self.config.scheme,
                {c.image: content for c, content in claims if content},
            )
        joining = Joining(self.config.scheme, sides)
        yield from joining.foreseen()
        for export, rows in sinks:
            yield from self._in_sink(joining, export, rows)
        silent = [name for name, side in sides.items() if not side.contents]
        if silent:
            self.note(
                f"which images of {', '.join(silent)} have the same content "
                "as others is unknown: 'ec2map-sync ledger export --contents' "
                "asks Glance"
            )

    def _in_sink(
        self, joining: Joining, export: Export, rows: list[SinkRow]
    ) -> Iterator[Foreseen]:
        region, sink = export.region, export.sink
        if region not in joining.sides:
            raise BadArgument(f"there is no ledger of {region}, as of {sink}")
        if not is_cell(sink):
            raise BadArgument(f"{sink} of {region}: only cells are rehearsed")
        steps = joining.steps(region, rows)
        self.note(
            f"{sink} of {region}: {len(steps.add)} rows would be written, "
            f"{len(steps.remove)} removed or replaced"
        )
        yield from joining.foreseen_in(region, sink, steps)
