"""ec2map-sync config from-glance."""

from ec2map_sync.cli.base import NOT_IN_ORDER, Arguments, Command, Parser
from ec2map_sync.operate.from_glance import propose


class ConfigFromGlance(Command):
    """Print a configuration of ours that fits Glance's own.

    It reads Glance's files, and Nova's for the cells, in the order in which
    these services read them. What is printed HAS PASSWORDS in it: let nobody
    else read the file that it goes to. What to change in Glance goes to
    standard error. Exit code 1 if Glance does not notify as it is.

    Example: ec2map-sync config from-glance /etc/glance/glance-api.conf
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "glance",
            metavar="FILE",
            nargs="+",
            help="configuration of Glance, such as "
            "/etc/glance/glance-api.conf; a later one overrides earlier ones",
        )
        parser.add_argument(
            "--nova",
            metavar="FILE",
            nargs="+",
            action="extend",
            default=[],
            help="configuration of Nova's API, for the databases of the cells",
        )

    def take_action(self, parsed_args: Arguments) -> None:
        """Proposes."""
        proposal = propose(parsed_args.glance, parsed_args.nova)
        self.out(proposal.text)
        for text in proposal.needed:
            self.refuse(text, NOT_IN_ORDER)
        for text in proposal.advised:
            self.note(text)
