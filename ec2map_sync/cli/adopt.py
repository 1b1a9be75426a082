"""ec2map-sync adopt."""

from ec2map_sync.cli.base import Arguments, Parser, Rows, add_dry_run
from ec2map_sync.cli.progress import progress
from ec2map_sync.cli.regional import RegionLister
from ec2map_sync.operate.adopt import Adoption
from ec2map_sync.peers.gate import is_compared
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.rules.stamps import earlier, wall_clock

COLUMNS = ("class", "count", "example")

AGREED_WITHIN = 60.0
"""Seconds: how recent the agreement with every peer has to be."""


class Adopt(RegionLister):
    """Let images keep, in all regions, the ids that they have here.

    Rows of Nova's from before ec2map-sync become their images' ids: the
    first cell that has one decides. An adoption never takes a number that
    another image has; where two regions have different ids for an image, or
    one id for two images, whoever adopts first is right, and the other is
    counted here. So run --dry-run in every region first.

    All peers have to agree with us at this moment, by a heartbeat or an
    answer of the last minute: a number is in use if any region says so.

    Example: ec2map-sync adopt --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        add_dry_run(parser, "what each row would become")
        parser.add_argument(
            "--sink",
            metavar="NAME",
            help="only the rows of this sink, such as nova:cell1",
        )

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Adopts."""
        region = self.region
        sinks = region.sinks
        if parsed_args.sink:
            sinks = [region.sink(parsed_args.sink)]
        if not parsed_args.dry_run:
            self._require_agreement()
        adoption = Adoption(region.ledger, dry_run=parsed_args.dry_run)
        with progress("rows", None) as advance:
            for sink in sinks:
                for done in adoption.go_through(sink):
                    advance(done)
        counted = adoption.counted
        return COLUMNS, [
            (found.value, counted.count[found], f"{row.uuid} {row.number}")
            for found, row in sorted(counted.example.items())
        ]

    def _require_agreement(self) -> None:
        states = self.region.ledger.journal.peer_states()
        now = wall_clock()
        since = earlier(now, AGREED_WITHIN)
        for peer in self.region.bus.peers:
            state = states.get(peer.name)
            differs = state is not None and state.differs_since is not None
            if differs or not is_compared(state, since, now):
                raise Ec2MapError(
                    f"{peer.name} does not agree with us at this moment: see "
                    "'ec2map-sync peer list', and adopt when all peers agree"
                )
