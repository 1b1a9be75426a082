"""ec2map-sync db upgrade, db version, db restamp."""

from functools import cached_property

from ec2map_sync.cli.base import Arguments, Parser, add_dry_run
from ec2map_sync.cli.regional import RegionCommand
from ec2map_sync.ledger import schema
from ec2map_sync.ledger.restamping import restamp
from ec2map_sync.region import Region
from ec2map_sync.rules.stamps import wall_clock


class _SchemaCommand(RegionCommand):
    @cached_property
    def region(self) -> Region:
        """The region, whatever its schema is."""
        return Region(self.config)


class Upgrade(_SchemaCommand):
    """Make the ledger's tables, or bring them up to this release.

    Example: ec2map-sync db upgrade --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        add_dry_run(parser, "which versions it would go through")

    def take_action(self, parsed_args: Arguments) -> None:
        """Upgrades."""
        engine = self.region.engine
        steps = schema.pending(engine)
        if not steps:
            self.out(f"up to date: {schema.newest()}")
        elif parsed_args.dry_run:
            self.out(f"would upgrade: {', '.join(steps)}")
        else:
            schema.upgrade(engine)
            self.out(f"upgraded: {', '.join(steps)}")


class Restamp(RegionCommand):
    """Bring back a ledger that was filled while the clock was ahead.

    What was stamped more than 24 hours ahead, peers refuse, and nothing new
    is claimed until that time has come. Set the clock first. Then this gives
    such claims stamps of the present, in the same order, so that no id
    changes; peers get them as new ones. The agent may run meanwhile.

    If several regions were ahead together, they have taken such claims from
    each other; then --theirs, in each of them.

    Example: ec2map-sync db restamp --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "--theirs",
            action="store_true",
            help="also claims that other regions have made: their clocks "
            "were ahead too, and this one is right now",
        )
        add_dry_run(parser, "how many claims it would restamp")

    def take_action(self, parsed_args: Arguments) -> None:
        """Restamps."""
        dry = parsed_args.dry_run
        done = restamp(
            self.region.ledger,
            wall_clock(),
            dry_run=dry,
            theirs=parsed_args.theirs,
        )
        said = "would be" if dry else "were"
        self.out(
            f"{done.claims} claims {said} restamped, {done.moved} ids moved"
        )


class Version(_SchemaCommand):
    """Print the version of the ledger's schema.

    Example: ec2map-sync db version
    """

    def take_action(self, _parsed_args: Arguments) -> None:
        """Asks."""
        self.out(schema.version(self.region.engine) or "none")
