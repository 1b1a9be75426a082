"""The program ec2map-sync: finds a command and runs it."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from cliff.app import App
from cliff.commandmanager import CommandManager
from cliff.help import HelpCommand

from ec2map_sync.settings import config

USAGE_ERROR = 2


class Help(HelpCommand):
    """Print detailed help for another command."""

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Help; a command that there is not is a usage error."""
        try:
            return self.take_action(parsed_args)
        except ValueError as error:
            print(f"{config.PROJECT}: {error}", file=sys.stderr)
            return USAGE_ERROR


class Program(App):
    """Options that all commands share."""

    DEFAULT_VERBOSE_LEVEL = 0
    """Only warnings, beside the output; -v adds what libraries tell."""

    def __init__(self) -> None:
        super().__init__(
            description="Portable EC2 image ids for OpenStack clouds with "
            "several regions.",
            version=version(config.PROJECT),
            command_manager=CommandManager("ec2map_sync.cli"),
            deferred_help=True,
        )
        self.command_manager.add_command("help", Help)

    def build_option_parser(
        self, *args: Any, **kwargs: Any
    ) -> argparse.ArgumentParser:
        """Add --config-file to cliff's own options."""
        parser = super().build_option_parser(*args, **kwargs)
        add_config_file(parser, default=[])
        return parser

    def interact(self) -> None:
        """Ask for a command: there is no shell of our own."""
        self.parser.error(f"a command is missing; see {config.PROJECT} --help")


def add_config_file(
    parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS
) -> None:
    """Let a parser understand --config-file."""
    parser.add_argument(
        "--config-file",
        action="append",
        metavar="FILE",
        default=default,
        help="configuration to read; may be repeated "
        f"(default: /etc/{config.PROJECT}/{config.PROJECT}.conf)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program."""
    return Program().run(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
