"""ec2map-sync verify."""

from collections.abc import Callable, Iterator
from contextlib import closing
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
from ec2map_sync.cli.guests import (
    GuestChecks,
    PutLine,
    add_guests,
    instances_file,
    require_guests,
)
from ec2map_sync.cli.progress import progress
from ec2map_sync.cli.regional import RegionLister
from ec2map_sync.glance.audit import Survey
from ec2map_sync.glance.catalogue import Catalogue
from ec2map_sync.operate.verify import (
    Verdict,
    check_glance,
    check_ledger,
    check_peer,
    check_sink,
)
from ec2map_sync.outages import OUTAGES
from ec2map_sync.rules.ec2id import format_id
from ec2map_sync.settings.values import Glance, Peer
from ec2map_sync.sinks import Sink
from ec2map_sync.sinks.verify import SinkCheck, repair

COLUMNS = ("what", "name", "checked", "missing", "foreign", "different")
ABSENT = {
    "ledger": "it is always there",
    "sinks": "no cell and no [ec2api] connection is configured",
    "peers": "[DEFAULT] peers is empty",
    "glance": "[glance] is not configured",
    "guests": "no cell of Nova is configured",
}
"""The parts, and why there may be nothing of them to check."""
USUAL = ("ledger", "sinks", "peers", "glance")
"""Those that are checked where none is asked for; the others look through
whole tables of Nova's."""
REPAIRED = {"ledger", "sinks"}
"""Those that --repair puts right."""
EXAMPLES = 10
"""Differences told of each thing."""


class Verify(RegionLister):
    """Check that ledger, sinks, peers and Glance hold what they should.

    Ledger: every row, and every copy that is kept of it; different is what
    contradicts itself. Sinks: every settled number, by ranges of the primary
    key. Missing is what has no row, foreign a row of somebody else in our
    numbers, or one that Nova has made on demand beside ours and that is not
    kept, different another row than the settled one. Peers: the claims made
    before their next heartbeat. Missing is what we lack, foreign what the
    peer lacks, different what the peer knows more of. Without any of
    --ledger, --sinks, --peers and --glance, all are checked that are
    configured.

    --guests looks at what guests see, in each cell. Guests: what Nova answers
    for every image, from its rows and from what it remembers in memcached
    ([nova] memcached_servers); missing are images to which a boot would give
    an id of its own. Instances: those not deleted that carry another id,
    since Nova answers another one, or since they were booted with a config
    drive before the row was right; what such a one carries is not always
    known. This needs SELECT on their table. Nova: with --nova-python, what
    Nova's own code finds for some images. It makes no row and no memo.

    --repair puts the ledger right, and writes what is missing or ours into
    the sinks again; rows that are not ours stay ([nova] existing_rows). The
    first differences are told
    beside the table. Exit code 1 if anything is (still) not in order, 2 if
    something could not be checked, or was asked for and is not configured.

    Example: ec2map-sync verify --sinks --repair --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        for name in ABSENT:
            parser.add_argument(
                f"--{name}", action="store_true", help=f"check {name}"
            )
        parser.add_argument(
            "--repair",
            action="store_true",
            help="put the ledger right; write what sinks lack, or hold "
            "otherwise and is ours",
        )
        add_dry_run(parser, "what --repair would write")
        add_guests(parser)

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Checks."""
        asked = [name for name in ABSENT if getattr(parsed_args, name)]
        if parsed_args.repair and asked and not REPAIRED & {*asked}:
            raise BadArgument(
                "--repair is for sinks and the ledger: add --sinks or --ledger"
            )
        require_guests(parsed_args)
        with instances_file(parsed_args) as put:
            return self._verified(parsed_args, asked, put)

    def _verified(
        self, parsed_args: Arguments, asked: list[str], put: PutLine
    ) -> Rows:
        needed = asked or (["sinks"] if parsed_args.repair else [])
        verdicts: list[Verdict] = []
        for part in asked or USUAL:
            checks = list(self._checks(part, parsed_args, put))
            if part in needed and not checks:
                self.refuse(f"{part} cannot be checked: {ABSENT[part]}")
            if part == "glance" and not checks:
                verdicts.append(Verdict(what=part, name="not configured"))
            verdicts += [self._judged(*one) for one in checks]
        for verdict in verdicts:
            if not verdict.in_order:
                self.exit_code = max(self.exit_code, NOT_IN_ORDER)
            if verdict.trouble:
                self.refuse(f"{verdict.name}: {verdict.trouble}")
        return COLUMNS, map(attrgetter(*COLUMNS), verdicts)

    def _checks(
        self, part: str, chosen: Arguments, put: PutLine
    ) -> Iterator[tuple[str, str, Callable[[], Verdict]]]:
        """Returns what there is of a part: what it is, its name, and how."""
        if part == "ledger":
            yield "ledger", self.config.region, partial(self._ledger, chosen)
        elif part == "sinks":
            for sink in self.region.sinks:
                yield "sink", sink.name, partial(self._sink, sink, chosen)
        elif part == "peers":
            for peer in self.region.peers():
                yield "peer", peer.name, partial(self._peer, peer)
        elif part == "guests":
            yield from GuestChecks(self.region, chosen, put).all()
        elif self.config.glance is not None:
            check = partial(self._glance, self.config.glance)
            yield "glance", self.config.region, check

    def _judged(
        self, what: str, name: str, check: Callable[[], Verdict]
    ) -> Verdict:
        """Checks one thing; one that does not answer spoils no other."""
        try:
            verdict = check()
        except OUTAGES as error:
            return Verdict(what=what, name=name, trouble=self.explain(error))
        done = "; put right" if what == "ledger" and verdict.repaired else ""
        for finding in verdict.findings[:EXAMPLES]:
            self.note(f"{name if what != 'ledger' else what}: {finding}{done}")
        return verdict

    def _ledger(self, chosen: Arguments) -> Verdict:
        ledger, region = self.region.ledger, self.config.region
        mends = chosen.repair and not chosen.dry_run
        with progress("ledger", None) as advance:
            return check_ledger(ledger, region, repair=mends, advance=advance)

    def _sink(self, sink: Sink, chosen: Arguments) -> Verdict:
        ledger = self.region.ledger
        with progress(sink.name, ledger.head().total.count) as advance:
            check = SinkCheck(ledger, sink, advance=advance)
            verdict = check_sink(check, sink.name)
            for one in verdict.differences[:EXAMPLES]:
                self.note(
                    f"{sink.name}: {format_id(one.number)} is settled for "
                    f"{one.settled or 'nobody'}, and holds "
                    f"{one.found or 'nothing'}"
                )
            if chosen.repair and verdict.differences:
                changed, left = repair(
                    check,
                    self.region.writer(sink),
                    verdict.differences,
                    dry_run=chosen.dry_run,
                )
                said = "would be" if chosen.dry_run else "were"
                self.note(f"{sink.name}: {changed} rows {said} put right")
                verdict.repaired = not left
        return verdict

    def _peer(self, peer: Peer) -> Verdict:
        with self.region.asker(peer) as asker:
            verdict = check_peer(self.region.ledger, asker, peer.name)
        if verdict.refused:
            self.note(
                f"{peer.name}: {verdict.refused} claims of it are refused "
                "here; see 'ec2map-sync quarantine list'"
            )
        return verdict

    def _glance(self, options: Glance) -> Verdict:
        with (
            closing(Catalogue(self.config.conf, options)) as catalogue,
            progress("images", None) as advance,
        ):
            return check_glance(
                self.region.ledger,
                Survey(catalogue, believe=self.region.believe),
                self.config.region,
                advance=advance,
            )
