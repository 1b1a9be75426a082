"""ec2map-sync config check."""

from operator import attrgetter

from ec2map_sync.cli.base import NOT_IN_ORDER, Arguments, Parser, Rows
from ec2map_sync.cli.regional import RegionLister
from ec2map_sync.glance import listener
from ec2map_sync.operate import checks

COLUMNS = ("check", "result", "advice")


class CheckConfig(RegionLister):
    """See whether what the configuration names is there, and as it must be.

    Brokers, exchanges and queues, databases and our rights there, keys,
    heartbeats of peers, Glance. Nothing is made or changed, and no secret
    is printed. Exit code 1 if anything is wrong.

    Example: ec2map-sync config check
    """

    register = staticmethod(listener.register_options)

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "--guests",
            action="store_true",
            help="also look for the rights that 'verify --guests' needs",
        )

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Checks."""
        findings = checks.run(
            checks.checks(self.config, guests=parsed_args.guests)
        )
        if not checks.in_order(findings):
            self.exit_code = NOT_IN_ORDER
        return COLUMNS, map(attrgetter(*COLUMNS), findings)
