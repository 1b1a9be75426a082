"""The program ec2map-sync: finds a command and runs it."""

import argparse
import ast
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, cast

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager, EntryPointWrapper
from cliff.help import HelpCommand

from ec2map_sync.settings import config

USAGE_ERROR = 2


class Commands(CommandManager):
    """Knows the commands, and loads only the one that is called.

    cliff would import every module of ours to find one command in them.
    """

    def load_commands(self, namespace: str) -> None:
        """Notes where the commands are."""
        for entry in entry_points(group=namespace):
            self.commands[entry.name.replace("_", " ")] = entry

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Goes through the commands as they are listed: by docstrings."""
        for name, entry in self.commands.items():
            yield name, EntryPointWrapper(name, _described(entry))


def _described(entry: Any) -> type[Command]:
    """Returns a class that says what a command does, and cannot do it."""
    if not isinstance(entry, EntryPoint):
        return cast(type[Command], entry.load())
    spec = find_spec(entry.module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_bytes())
    text = next(
        ast.get_docstring(node)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == entry.attr
    )
    return type(entry.attr, (_Listed,), {"__doc__": text})


class _Listed(Command):
    def take_action(self, _parsed_args: argparse.Namespace) -> NoReturn:
        raise NotImplementedError


class Help(HelpCommand):
    """Print detailed help for another command."""

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Helps; a command that there is not is a usage error."""
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
            command_manager=Commands("ec2map_sync.cli"),
            deferred_help=True,
        )
        self.command_manager.add_command("help", Help)

    def build_option_parser(
        self, *args: Any, **kwargs: Any
    ) -> argparse.ArgumentParser:
        """Adds --config-file to cliff's own options."""
        parser = super().build_option_parser(*args, **kwargs)
        add_config_file(parser, default=[])
        return parser

    def interact(self) -> None:
        """Asks for a command: there is no shell of our own."""
        self.parser.error(f"a command is missing; see {config.PROJECT} --help")


def add_config_file(
    parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS
) -> None:
    """Lets a parser understand --config-file."""
    parser.add_argument(
        "--config-file",
        action="append",
        metavar="FILE",
        default=default,
        help="configuration to read; may be repeated "
        f"(default: /etc/{config.PROJECT}/{config.PROJECT}.conf)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program."""
    try:
        code = Program().run(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as ended:  # argparse has helped, or refused
        if not isinstance(ended.code, int):
            raise
        code = ended.code
    return written(code, config.PROJECT)


def written(code: int, program: str) -> int:
    """Makes sure that the output was taken; gives the exit code."""
    if sys.stdout is None:  # it is closed
        return code
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try again at its end, and say so in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE  # whoever read us has seen enough
        if code != USAGE_ERROR:  # else something was said already
            print(f"{program}: {error.strerror}", file=sys.stderr)
        return USAGE_ERROR
    return code


if __name__ == "__main__":
    sys.exit(main())
