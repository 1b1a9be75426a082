"""ec2map-sync id."""

from ec2map_sync.cli.base import Arguments, Command, Parser
from ec2map_sync.rules.ec2id import Kind, format_id, image_key


class DeriveId(Command):
    """Print the id that is derived from an image's UUID.

    Needs the configuration only ([ec2_ids] hash_key), no database. It is
    the image's id unless the image collides with an earlier one or an older
    id was adopted for it: 'show' tells.

    Example: ec2map-sync id 71ed3a2c-33a0-4d3c-9d4e-2f6c6f2b6c34 --kind aki
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument("uuid", metavar="UUID", help="the image's UUID")
        parser.add_argument(
            "--kind",
            choices=[kind.value for kind in Kind],
            default=Kind.AMI.value,
            help="prefix of the id (default: ami)",
        )

    def take_action(self, parsed_args: Arguments) -> None:
        """Derives."""
        number = self.config.scheme.derive(image_key(parsed_args.uuid))
        self.out(format_id(number, Kind(parsed_args.kind)))
