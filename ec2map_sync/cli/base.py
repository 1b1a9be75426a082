"""What the commands have in common."""

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from cliff import command, lister, show
from oslo_config import cfg

from ec2map_sync.cli.main import add_config_file
from ec2map_sync.cli.values import LARGEST, present
from ec2map_sync.rules.errors import Ec2MapError, one_line
from ec2map_sync.settings import config
from ec2map_sync.settings.loading import load

FAILURE = 2
"""Exit code: usage, configuration, or something does not answer."""

NOT_IN_ORDER = 1
"""Exit code: it was checked, and is not as it should be."""

LIMIT = 1000
"""How many a command lists unless it is told otherwise."""

Arguments = argparse.Namespace
Parser = argparse.ArgumentParser

Rows = tuple[Sequence[str], Iterable[Sequence[Any]]]
"""Names of columns, and rows."""

Fields = tuple[Sequence[str], Sequence[Any]]
"""Names of fields, and what is in them."""

_MACHINES = frozenset({"json", "yaml"})
"""Formats that tell nothing from an empty text."""


class Command(command.Command):
    """A command that may read the configuration.

    What it raises becomes one line and an exit code, here and nowhere else.
    """

    config_files: tuple[str, ...] = ()
    register: Callable[[cfg.ConfigOpts], None] | None = None
    """Adds options to those of ours that a command reads besides."""
    exit_code = 0

    def get_parser(self, prog_name: str) -> Parser:
        """Accepts --config-file after the command's name too."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        add_config_file(parser)
        self.add_arguments(parser)
        return parser

    def add_arguments(self, parser: Parser) -> None:
        """Says what this command takes besides; most take something."""

    def get_epilog(self) -> str:
        """Says nothing: cliff would search every package for plug-ins' names.

        That takes as long as all the rest of a short command.
        """
        return ""

    def run(self, parsed_args: Arguments) -> int:
        """Remembers the configuration files, then act."""
        named = getattr(parsed_args, "config_file", None)
        self.config_files = tuple(named or self.app.options.config_file)
        try:
            return super().run(parsed_args) or self.exit_code
        except BrokenPipeError:
            raise  # whoever read us has seen enough
        except Exception as error:  # noqa: BLE001, becomes a line and a code
            return self._fail(error)

    @cached_property
    def config(self) -> config.Config:
        """The configuration, read when a command first needs it."""
        files = self.config_files or None
        return load([], files=files, prepare=self.register)

    def out(self, text: Any) -> None:
        """Prints a line."""
        self.app.stdout.write(f"{text}\n")

    def note(self, text: str) -> None:
        """Tells something beside the output."""
        print(text, file=sys.stderr)

    def refuse(self, text: str, code: int = FAILURE) -> None:
        """Tells what keeps the command from its work, or a part of it."""
        self.note(f"{config.PROJECT}: {text}")
        self.exit_code = max(self.exit_code, code)

    def explain(self, error: Exception) -> str:
        """Returns in one line what went wrong."""
        if isinstance(error, Ec2MapError):
            return str(error)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return os.strerror(errno.ENOSPC)
        return (
            f"{type(error).__name__}: {one_line(error)} (this is a mistake "
            "in the program; --debug shows where)"
        )

    def _fail(self, error: Exception) -> int:
        if self.app.options.debug:
            traceback.print_exception(error)
        else:
            self.note(f"{config.PROJECT}: {self.explain(error)}")
        if isinstance(error, Unknown | Refused):
            return error.exit_code
        return FAILURE


class BadArgument(Ec2MapError):
    """An argument cannot be used."""


class Unknown(Ec2MapError):
    """What the operator asks for is not there."""

    exit_code = NOT_IN_ORDER


class Refused(Ec2MapError):
    """What the operator has had checked does not hold."""

    exit_code = NOT_IN_ORDER


class Lister(Command, lister.Lister):
    """A command that answers with a table, or the same for programs."""

    def produce_output(
        self,
        parsed_args: Arguments,
        column_names: Sequence[str],
        data: Iterable[Sequence[Any]],
    ) -> int:
        """Writes the rows as the format wants them."""
        show_one = _presenter(parsed_args, column_names)
        rows = ([show_one(value) for value in row] for row in data)
        return super().produce_output(parsed_args, column_names, rows)


class ShowOne(Command, show.ShowOne):
    """A command that answers with one thing."""

    def produce_output(
        self,
        parsed_args: Arguments,
        column_names: Sequence[str],
        data: Sequence[Any],
    ) -> int:
        """Writes the fields as the format wants them."""
        show_one = _presenter(parsed_args, column_names)
        fields = [show_one(value) for value in data]
        return super().produce_output(parsed_args, column_names, fields)


def add_limit(parser: Parser) -> None:
    """Lets a list end early."""
    parser.add_argument(
        "--limit",
        type=int,
        default=LIMIT,
        metavar="N",
        help=f"list at most so many (default: {LIMIT}; 0 lists all)",
    )


def limit_of(parsed_args: Arguments) -> int | None:
    """Returns how many to list; None is all.

    :raises BadArgument: they are fewer than none.
    """
    limit: int = parsed_args.limit
    if limit < 0:
        raise BadArgument(f"--limit {limit}: it takes 0 or more")
    return min(limit, LARGEST) or None


def add_dry_run(parser: Parser, what: str) -> None:
    """Lets a command only say what it would do."""
    parser.add_argument(
        "--dry-run", action="store_true", help=f"only say {what}"
    )


def _presenter(
    parsed_args: Arguments, column_names: Sequence[str]
) -> Callable[[Any], Any]:
    """Returns what makes a value fit the chosen format.

    :raises BadArgument: a column was chosen that there is not.
    """
    for column in parsed_args.columns:
        if column.lower() not in column_names:
            raise BadArgument(
                f"-c {column}: the columns are {', '.join(column_names)}"
            )
    machine = parsed_args.formatter in _MACHINES
    return lambda value: present(value, machine=machine)
