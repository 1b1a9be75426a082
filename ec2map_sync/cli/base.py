"""What the commands have in common."""

import argparse
from functools import cached_property
from typing import Any

from cliff.command import Command as CliffCommand

from ec2map_sync import config
from ec2map_sync.cli.main import add_config_file


class Command(CliffCommand):
    """A command that may read the configuration."""

    config_files: tuple[str, ...] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Accept --config-file after the command's name too."""
        parser = super().get_parser(prog_name)
        add_config_file(parser)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Remember the configuration files, then act."""
        named = getattr(parsed_args, "config_file", None)
        self.config_files = tuple(named or self.app.options.config_file)
        return super().run(parsed_args) or 0

    @cached_property
    def config(self) -> config.Config:
        """The configuration, read when a command first needs it."""
        return config.load([], files=self.config_files or None)

    def out(self, text: Any) -> None:
        """Print a line."""
        self.app.stdout.write(f"{text}\n")
