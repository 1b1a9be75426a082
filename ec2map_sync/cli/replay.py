"""ec2map-sync replay."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from ec2map_sync.cli.base import (
    Arguments,
    BadArgument,
    Parser,
    Rows,
    add_dry_run,
)
from ec2map_sync.cli.progress import progress
from ec2map_sync.cli.regional import RegionLister
from ec2map_sync.operate.replay import Outcome, from_peer, into_sink, push
from ec2map_sync.rules.claims import BEGINNING, END, Bound, Span
from ec2map_sync.rules.stamps import parse_time, wall_clock

COLUMNS = ("what", "name", "examined", "missed")


class Replay(RegionLister):
    """Compare a range of claims with peers now, and take what was missed.

    The range is that of the times at which images were claimed; without
    --since and --until it is everything. A time is ISO 8601 (UTC unless it
    says otherwise), or 90m, 2h, 3d ago. With --sink, the images of the
    range are written into that sink again instead; with --push, claims that
    were made here are published again. Examined is what there is in the
    range, missed what was not where it belongs; after a --push nobody says.
    Exit code 2 if somebody does not answer.

    Example: ec2map-sync replay --since 2h --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--peer", metavar="R", help="compare with this peer only"
        )
        where.add_argument(
            "--sink", metavar="NAME", help="write into this sink again"
        )
        where.add_argument(
            "--push", action="store_true", help="publish own claims again"
        )
        for name, what in (("since", "from"), ("until", "before")):
            parser.add_argument(
                f"--{name}",
                metavar="TIME",
                help=f"claims made {what} this time",
            )
        add_dry_run(parser, "what was missed, and change nothing")

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Replays."""
        span = _span(parsed_args.since, parsed_args.until)
        outcomes = list(self._outcomes(parsed_args, span))
        for outcome in outcomes:
            if outcome.trouble:
                self.refuse(outcome.trouble)
        return COLUMNS, map(attrgetter(*COLUMNS), outcomes)

    def _outcomes(self, chosen: Arguments, span: Span) -> Iterator[Outcome]:
        region, dry_run = self.region, chosen.dry_run
        if chosen.sink:
            with self._progress(chosen.sink, span) as advance:
                yield into_sink(region, chosen.sink, span, dry_run, advance)
        elif chosen.push:
            with self._progress("own claims", span) as advance:
                yield push(region, span, dry_run, advance)
        else:
            peers = region.peers(chosen.peer)
            if not peers:
                self.refuse("[DEFAULT] peers is empty: nobody to compare with")
            for peer in peers:
                with progress(f"claims of {peer.name}", None) as advance:
                    yield from_peer(region, peer, span, dry_run, advance)

    def _progress(self, what: str, span: Span) -> Any:
        return progress(what, self.region.ledger.print_of(span).count)


def _span(since: str | None, until: str | None) -> Span:
    """Reads the range.

    :raises BadArgument: it ends before it begins.
    """
    now = wall_clock()
    start = Bound(parse_time(since, now)) if since else BEGINNING
    stop = Bound(parse_time(until, now)) if until else END
    if start >= stop:
        raise BadArgument("--until is not later than --since")
    return Span(start, stop)
