"""ec2map-sync peer list, peer forget."""

from ec2map_sync.cli.base import Arguments, Parser, Rows, Unknown, add_dry_run
from ec2map_sync.cli.regional import RegionCommand, RegionLister
from ec2map_sync.cli.values import moment
from ec2map_sync.monitor.views import peer_views
from ec2map_sync.operate import peers
from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.settings import addresses

COLUMNS = (
    "name",
    "state",
    "agrees_until",
    "missing_here",
    "missing_there",
    "heartbeat_age",
)


class ListPeers(RegionLister):
    """List the peers: who agrees with us, and until when.

    Agrees: all claims made before agrees_until are the same on both sides.
    Silent: no heartbeat for some time, heartbeat_age in seconds. Differs:
    comparing goes on. Missing_here is what the last comparing has found
    missing here (and has brought), missing_there what the peer lacked at
    its last heartbeat. Beside the list is told of a peer whose clock is a
    minute or more from ours, why something of one was refused, while it is
    silent or differs, and whether claims of one wait for a decision.

    Example: ec2map-sync peer list -f json
    """

    def take_action(self, _parsed_args: Arguments) -> Rows:
        """Lists."""
        region = self.region
        views = peer_views(region.ledger, region.bus, wall_clock())
        for view in views:
            for trouble in filter(None, (view.refused, view.known.clock)):
                self.note(f"{view.name}: {trouble}")
        return COLUMNS, [
            (
                view.name,
                view.state,
                moment(view.known.agrees_until),
                view.known.missing_here,
                view.known.missing_there,
                view.heartbeat_age,
            )
            for view in views
        ]


class ForgetPeer(RegionCommand):
    """Retire a peer: delete its queue on our broker, and its traces here.

    Its images and ids stay: every region holds all of them. First take the
    peer out of [DEFAULT] peers and restart the agent, and stop the peer's
    agent, or take away its account on our broker: it would make its queue
    again.

    Example: ec2map-sync peer forget RegionThree --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument("name", metavar="NAME", help="the peer's name")
        add_dry_run(parser, "what would go")

    def take_action(self, parsed_args: Arguments) -> None:
        """Forgets."""
        region = self.region
        name = addresses.name(parsed_args.name, "NAME")
        if name in {peer.name for peer in region.bus.peers}:
            raise ConfigError(
                f"{name} is in [DEFAULT] peers, and would be back at once: "
                "take it out there, restart the agent, then forget it"
            )
        broker, exchange = region.own_broker, region.bus.exchange
        found = peers.traces(region.ledger, broker, exchange, name)
        if not found.any:
            raise Unknown(f"nothing is known of a peer {name!r}")
        if not parsed_args.dry_run:
            peers.forget(region.ledger, broker, exchange, name)
        done = "would delete" if parsed_args.dry_run else "deleted"
        queue = f"no queue {found.queue}"
        if found.messages is not None:
            queue = f"queue {found.queue} with {found.messages} messages"
        traces = "its traces" if found.remembered else "no traces"
        self.out(f"{name}: {done} {queue}, and {traces} in the ledger")
