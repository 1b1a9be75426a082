"""ec2map-sync ledger."""

import sys
from contextlib import closing
from pathlib import Path

from ec2map_sync.cli.base import Arguments, Parser, Rows, add_dry_run
from ec2map_sync.cli.files import readable, written
from ec2map_sync.cli.progress import progress
from ec2map_sync.cli.regional import RegionCommand, RegionLister
from ec2map_sync.glance.catalogue import Catalogue
from ec2map_sync.operate import transfer
from ec2map_sync.rules.errors import ConfigError

MOVES_SAID = 20
"""Moves that are told one by one."""


class ExportLedger(RegionCommand):
    """Write all claims of the ledger to a file, to be kept or carried.

    JSON lines, in the order of the claims; the first line says what it is,
    the last is a checksum. The file appears, or is replaced, when it is
    whole. As FILE, - is standard output. Nobody waits meanwhile. With
    --contents, Glance is asked for the hashes (os_hash) of what its images
    hold, so that 'rehearse' finds the same images under different UUIDs.

    Example: ec2map-sync ledger export /var/backups/ledger.jsonl
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "file", metavar="FILE", type=Path, help="where the claims go"
        )
        parser.add_argument(
            "--contents",
            action="store_true",
            help="with the hashes of images' contents, which [glance] tells",
        )

    def take_action(self, parsed_args: Arguments) -> None:
        """Exports."""
        region = self.config.region
        contents = self._contents() if parsed_args.contents else {}
        with (
            self.region.ledger.snapshot() as snapshot,
            written(parsed_args.file, self.app.stdout) as put,
            progress("claims", snapshot.count) as advance,
        ):
            transfer.export(snapshot, region, put, advance, contents)
        self.note(f"{snapshot.count} claims were written")

    def _contents(self) -> dict[str, str]:
        options = self.config.glance
        if options is None:
            raise ConfigError(
                "[glance] says neither auth_type nor endpoint_override: "
                "without Glance, --contents are unknown"
            )
        with closing(Catalogue(self.config.conf, options)) as catalogue:
            return catalogue.contents()


class ImportLedger(RegionLister):
    """Join the claims of a file that 'ledger export' has written.

    They are taken as if a peer had said them: what is known already changes
    nothing, so that importing twice, or an old backup, does no harm. The
    whole file is checked before the first claim is recorded; one that is
    not as it was written, or was written under another hash_key, is refused
    as a whole. As FILE, - is standard input.

    News counts the claims that are new here, or better known; moved the ids
    that change because of them; held those of them that [bus] max_moves
    would hold back if a peer said this, which an import does not: so see
    --dry-run first, which also tells the moves.

    Example: ec2map-sync ledger import /var/backups/ledger.jsonl --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "file", metavar="FILE", type=Path, help="what was exported"
        )
        add_dry_run(parser, "what would be news, and what would move")

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Imports."""
        path: Path = parsed_args.file
        ledger = self.region.ledger
        with readable(path, sys.stdin.buffer) as file:
            with progress("lines checked", None) as advance:
                found = transfer.check(
                    file, str(path), self.config.scheme, advance
                )
            act = transfer.rehearse if parsed_args.dry_run else transfer.take
            with progress("claims", found.count) as advance:
                done = act(ledger, file, str(path), advance)
        self._tell(done)
        allowed = done.moved <= self.region.bus.max_moves
        return ("claims", "news", "moved", "held"), [
            (done.claims, done.news, done.moved, 0 if allowed else done.moved)
        ]

    def _tell(self, done: transfer.Transfer) -> None:
        for move in done.moves[:MOVES_SAID]:
            claim = move.claim
            self.note(
                f"image {claim.uuid} would move from {claim.ec2_id(move.old)}"
                f" to {claim.ec2_id(move.new) or 'no id'}, because of the "
                f"claim of {move.cause}"
            )
        more = len(done.moves) - MOVES_SAID
        if more > 0:
            self.note(f"{more} more would move")
