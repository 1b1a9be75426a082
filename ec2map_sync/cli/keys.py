"""ec2map-sync key generate."""

from pathlib import Path

from ec2map_sync.cli.base import Arguments, Command, Parser
from ec2map_sync.protocol.signing import SigningKey


class GenerateKey(Command):
    """Make a key that signs this region's messages; print its public half.

    The file is new, and only its owner can read it. Name it in
    [bus] signing_key_file, and put the printed line into the public_keys of
    every peer's section for this region.

    Example: ec2map-sync key generate /etc/ec2map-sync/signing.key
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "file", metavar="FILE", type=Path, help="where the key goes"
        )

    def take_action(self, parsed_args: Arguments) -> None:
        """Generates."""
        key = SigningKey.generate()
        key.save(parsed_args.file)
        self.out(key.public)
