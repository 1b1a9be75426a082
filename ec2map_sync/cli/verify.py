"""ec2map-sync verify."""

from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter

from ec2map_sync.cli.base import (
    NOT_IN_ORDER,
    Arguments,
    BadArgument,
    Parser,
    Rows,
    add_dry_run,
)
from ec2map_sync.cli.progress import progress
from ec2map_sync.cli.regional import RegionLister
from ec2map_sync.glance.audit import Survey
from ec2map_sync.glance.catalogue import Catalogue
from ec2map_sync.operate.verify import (
    Verdict,
    check_glance,
    check_peer,
    check_sink,
)
from ec2map_sync.outages import OUTAGES
from ec2map_sync.rules.ec2id import format_id
from ec2map_sync.sinks import Sink
from ec2map_sync.sinks.verify import SinkCheck, repair

COLUMNS = ("what", "name", "checked", "missing", "foreign", "different")
NOT_CONFIGURED = "not configured"
ABSENT = {
    "sinks": "no cell and no [ec2api] connection is configured",
    "peers": "[DEFAULT] peers is empty",
    "glance": "[glance] is not configured",
}
"""The parts, and why there may be nothing of them to check."""
EXAMPLES = 10
"""Differences told of each thing."""


class Verify(RegionLister):
    """Check that sinks, peers and Glance hold what they should.

    Sinks: every settled number, by ranges of the primary key. Missing is
    what has no row, foreign a row of somebody else in our numbers, or one
    that Nova has made on demand beside ours and that is not kept, different
    another row than the settled one. Peers: the claims made before their
    next heartbeat. Missing is what we lack, foreign what the peer lacks,
    different what the peer knows more of. Without any of --sinks, --peers
    and --glance, all are checked that are configured.

    --repair writes what is missing or ours into the sinks again; rows that
    are not ours stay ([nova] existing_rows). The first differences are told
    beside the table. Exit code 1 if anything is (still) not in order, 2 if
    something could not be checked, or was asked for and is not configured.

    Example: ec2map-sync verify --sinks --repair --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Say what it takes."""
        for name in ABSENT:
            parser.add_argument(
                f"--{name}", action="store_true", help=f"check {name}"
            )
        parser.add_argument(
            "--repair",
            action="store_true",
            help="write what sinks lack, or hold otherwise and is ours",
        )
        add_dry_run(parser, "what --repair would write")

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Check."""
        chosen = parsed_args
        asked = [name for name in ABSENT if getattr(chosen, name)]
        if chosen.repair and asked and "sinks" not in asked:
            raise BadArgument("--repair writes into sinks: add --sinks")
        parts: dict[str, Callable[[], Iterator[Verdict]]] = {
            "sinks": partial(self._sinks, chosen),
            "peers": self._peers,
            "glance": self._glance,
        }
        verdicts: list[Verdict] = []
        for name in asked or parts:
            found = list(parts[name]())
            verdicts += found
            needed = name in asked or (chosen.repair and name == "sinks")
            if needed and all(one.name == NOT_CONFIGURED for one in found):
                self.refuse(f"{name} cannot be checked: {ABSENT[name]}")
        for verdict in verdicts:
            if verdict.trouble:
                self.refuse(f"{verdict.name}: {verdict.trouble}")
        return COLUMNS, map(attrgetter(*COLUMNS), verdicts)

    def _sinks(self, chosen: Arguments) -> Iterator[Verdict]:
        total = self.region.ledger.head().total.count
        for sink in self.region.sinks:
            with progress(sink.name, total) as advance:
                check = partial(self._sink, sink, advance, chosen)
                verdict = self._guarded("sink", sink.name, check)
            yield verdict

    def _sink(
        self,
        sink: Sink,
        advance: Callable[[int], None],
        chosen: Arguments,
    ) -> Verdict:
        check = SinkCheck(self.region.ledger, sink, advance=advance)
        verdict = check_sink(check, sink.name)
        for one in verdict.differences[:EXAMPLES]:
            self.note(
                f"{sink.name}: {format_id(one.number)} is settled for "
                f"{one.settled or 'nobody'}, and holds "
                f"{one.found or 'nothing'}"
            )
        left = verdict.differences
        if chosen.repair and left:
            writer = self.region.writer(sink)
            changed, left = repair(check, writer, left, dry_run=chosen.dry_run)
            said = "would be" if chosen.dry_run else "were"
            self.note(f"{sink.name}: {changed} rows {said} put right")
        if left:
            self.exit_code = max(self.exit_code, NOT_IN_ORDER)
        return verdict

    def _peers(self) -> Iterator[Verdict]:
        region = self.region
        for peer in region.peers():
            with region.asker(peer) as asker:
                check = partial(check_peer, region.ledger, asker, peer.name)
                verdict = self._guarded("peer", peer.name, check)
            if verdict.refused:
                self.note(
                    f"{peer.name}: {verdict.refused} claims of it are refused "
                    "here; see 'ec2map-sync quarantine list'"
                )
            if not verdict.in_order:
                self.exit_code = max(self.exit_code, NOT_IN_ORDER)
            yield verdict

    def _glance(self) -> Iterator[Verdict]:
        """Compare with Glance's images, where that is configured."""
        if self.config.glance is None:
            yield Verdict(what="glance", name=NOT_CONFIGURED)
            return
        verdict = self._guarded("glance", self.config.region, self._images)
        if verdict.missing or verdict.trouble:
            self.exit_code = max(self.exit_code, NOT_IN_ORDER)
        yield verdict

    def _images(self) -> Verdict:
        assert self.config.glance is not None
        catalogue = Catalogue(self.config.conf, self.config.glance)
        try:
            with progress("images", None) as advance:
                return check_glance(
                    self.region.ledger,
                    Survey(catalogue),
                    self.config.region,
                    advance=advance,
                )
        finally:
            catalogue.close()

    def _guarded(
        self, what: str, name: str, check: Callable[[], Verdict]
    ) -> Verdict:
        """Check one thing; one that does not answer spoils no other."""
        try:
            return check()
        except OUTAGES as error:
            return Verdict(what=what, name=name, trouble=self.explain(error))
