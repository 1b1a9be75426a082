"""ec2map-sync quarantine list, show, retry, drop."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ec2map_sync.cli.base import (
    NOT_IN_ORDER,
    Arguments,
    Fields,
    Parser,
    Rows,
    Unknown,
    add_dry_run,
    add_limit,
    limit_of,
)
from ec2map_sync.cli.regional import RegionLister, RegionShowOne
from ec2map_sync.cli.values import entry_id, moment
from ec2map_sync.ledger import Quarantined
from ec2map_sync.operate.quarantine import Retrial
from ec2map_sync.protocol import wire
from ec2map_sync.rules.errors import BadMessage

COLUMNS = ("id", "at", "source", "reason")

COMPARED_WITHIN = 60.0
"""Seconds since the agent has compared with a peer, at most."""


class ListQuarantine(RegionLister):
    """List what could not be understood or trusted, the newest first.

    Example: ec2map-sync quarantine list --limit 20
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        add_limit(parser)

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Lists."""
        quarantine = self.region.ledger.quarantine
        entries = quarantine.newest(limit_of(parsed_args))
        more = quarantine.count() - len(entries)
        if more > 0:
            self.note(f"there are {more} more")
        for source, dropped in quarantine.dropped().items():
            self.note(
                f"{dropped} older entries from {source} were dropped so far "
                "to make room"
            )
        return COLUMNS, [_row(entry, entry.reason) for entry in entries]


class ShowQuarantined(RegionShowOne):
    """Show an entry of the quarantine, as it came.

    Example: ec2map-sync quarantine show 17
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "id", metavar="ID", type=entry_id, help="as listed"
        )

    def take_action(self, parsed_args: Arguments) -> Fields:
        """Shows."""
        entry = self.region.ledger.quarantine.entry(parsed_args.id)
        if entry is None:
            raise Unknown(f"nothing in the quarantine has id {parsed_args.id}")
        return (
            (*COLUMNS, "headers", "body"),
            (
                *_row(entry, entry.reason),
                entry.headers and json.dumps(entry.headers),
                _text(entry).decode(errors="backslashreplace"),
            ),
        )


class _Each(RegionLister):
    """A command for one entry, or all."""

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "id", metavar="ID", type=entry_id, nargs="?", help="as listed"
        )
        which.add_argument("--all", action="store_true", help="every entry")
        add_dry_run(parser, "what would happen to which entries")

    def names(self, parsed_args: Arguments) -> list[int]:
        """Returns the ids of the entries that are meant, the oldest first.

        :raises Unknown: the one that is named is not there.
        """
        quarantine = self.region.ledger.quarantine
        if parsed_args.all:
            return [e.id for e in reversed(quarantine.newest())]
        name: int = parsed_args.id
        if quarantine.entry(name) is None:
            raise Unknown(f"nothing in the quarantine has id {name}")
        return [name]

    def entries(self, names: Sequence[int]) -> Iterator[Quarantined]:
        """Reads entries one by one; others may drop some meanwhile."""
        for name in names:
            entry = self.region.ledger.quarantine.entry(name)
            if entry:
                yield entry


class RetryQuarantined(_Each):
    """Try entries of the quarantine again; what is understood leaves it.

    For example after a peer's key was corrected here. Reason tells what
    became of each. Exit code 1 if something still cannot be understood.

    Example: ec2map-sync quarantine retry --all --dry-run
    """

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Tries again."""
        region = self.region
        names = self.names(parsed_args)
        retrial = Retrial(
            region.ledger,
            region.trusted,
            region.pen,
            self.config.selection,
            region.believe,
        )
        if not parsed_args.dry_run:
            self._await_peers()
        rows = []
        for entry in self.entries(names):
            try:
                taken = retrial.take(entry, dry_run=parsed_args.dry_run)
            except BadMessage as error:
                self.exit_code = NOT_IN_ORDER
                rows.append(_row(entry, f"stays: {error}"))
                continue
            if not parsed_args.dry_run:
                region.ledger.quarantine.release([entry.id])
            rows.append(_row(entry, taken))
        return COLUMNS, rows

    def _await_peers(self) -> None:
        """Waits, as the agent does, until the ledger is as good as theirs.

        One that was just restored would hand out numbers that are in use.
        """
        gate = self.region.gate(
            time.monotonic() - COMPARED_WITHIN, but_for_held=True
        )
        if not gate.is_open():
            self.note(
                "waits until every peer was compared with, "
                f"{self.region.bus.claim_wait:.0f} s at most ([bus] "
                "claim_wait)"
            )
            gate.wait()


class DropQuarantined(_Each):
    """Drop entries of the quarantine for good.

    Example: ec2map-sync quarantine drop 17
    """

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Drops."""
        entries = list(self.entries(self.names(parsed_args)))
        if not parsed_args.dry_run:
            self.region.ledger.quarantine.release([e.id for e in entries])
        done = "would be dropped" if parsed_args.dry_run else "dropped"
        return COLUMNS, [_row(e, f"{done}: {e.reason}") for e in entries]


def _text(entry: Quarantined) -> bytes:
    """Returns what was said, readable where a peer has deflated it."""
    try:
        return wire.text_of(entry.headers or {}, entry.body)
    except ValueError:
        return entry.body


def _row(entry: Quarantined, reason: str) -> Sequence[Any]:
    return (entry.id, moment(entry.at), entry.source, reason)
