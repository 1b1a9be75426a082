"""ec2map-sync replay."""

from collections.abc import Iterator
from contextlib import closing
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
from ec2map_sync.peers.asking import PeerSilent
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
        """Say what it takes."""
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
        """Replay."""
        span = _span(parsed_args.since, parsed_args.until)
        outcomes = list(self._outcomes(parsed_args, span))
        for outcome in outcomes:
            if outcome.trouble:
                self.refuse(outcome.trouble)
        return COLUMNS, map(attrgetter(*COLUMNS), outcomes)

    def _outcomes(self, chosen: Arguments, span: Span) -> Iterator[Outcome]:
        if chosen.sink:
            yield self._sink(chosen.sink, span, dry_run=chosen.dry_run)
        elif chosen.push:
            yield self._push(span, dry_run=chosen.dry_run)
        else:
            peers = self.region.peers(chosen.peer)
            if not peers:
                self.refuse("[DEFAULT] peers is empty: nobody to compare with")
            for peer in peers:
                yield self._peer(peer, span, dry_run=chosen.dry_run)

    def _peer(self, peer: Any, span: Span, *, dry_run: bool) -> Outcome:
        region = self.region
        try:
            with (
                region.asker(peer) as asker,
                progress(f"claims of {peer.name}", None) as advance,
            ):
                return from_peer(
                    region.ledger,
                    asker,
                    peer.name,
                    span,
                    max_moves=region.bus.max_moves,
                    dry_run=dry_run,
                    advance=advance,
                )
        except PeerSilent as error:
            return Outcome(
                what="peer", name=peer.name, trouble=self.explain(error)
            )

    def _sink(self, sink: str, span: Span, *, dry_run: bool) -> Outcome:
        region = self.region
        writer = region.writer(region.sink(sink))
        with self._progress(sink, span) as advance:
            return into_sink(
                region.ledger,
                writer,
                sink,
                span,
                dry_run=dry_run,
                advance=advance,
            )

    def _push(self, span: Span, *, dry_run: bool) -> Outcome:
        region = self.region
        with (
            closing(region.outlet()) as outlet,
            self._progress("own claims", span) as advance,
        ):
            return push(
                region.ledger,
                outlet,
                region.pen,
                span,
                batch_size=region.bus.batch_size,
                exchange=region.bus.exchange,
                dry_run=dry_run,
                advance=advance,
            )

    def _progress(self, what: str, span: Span) -> Any:
        return progress(what, self.region.ledger.print_of(span).count)


def _span(since: str | None, until: str | None) -> Span:
    """Read the range.

    :raises BadArgument: it ends before it begins.
    """
    now = wall_clock()
    start = Bound(parse_time(since, now)) if since else BEGINNING
    stop = Bound(parse_time(until, now)) if until else END
    if start >= stop:
        raise BadArgument("--until is not later than --since")
    return Span(start, stop)
