"""ec2map-sync db upgrade, db version."""

import argparse

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync import database
from ec2map_sync.cli.base import Command
from ec2map_sync.errors import Ec2MapError
from ec2map_sync.ledger import schema


class _SchemaCommand(Command):
    def take_action(self, parsed_args: argparse.Namespace) -> None:
        engine = database.create_engine(self.config.ledger)
        try:
            self.act(engine, parsed_args)
        except SQLAlchemyError as error:
            text = database.describe(error)
            raise Ec2MapError(f"[ledger] connection: {text}") from error
        finally:
            engine.dispose()

    def act(self, engine: Engine, parsed_args: argparse.Namespace) -> None:
        raise NotImplementedError


class Upgrade(_SchemaCommand):
    """Make the ledger's tables, or bring them up to this release.

    Example: ec2map-sync db upgrade --dry-run
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only say which versions it would go through",
        )
        return parser

    def act(self, engine: Engine, parsed_args: argparse.Namespace) -> None:
        """Upgrade."""
        steps = schema.pending(engine)
        if not steps:
            self.out(f"up to date: {schema.newest()}")
        elif parsed_args.dry_run:
            self.out(f"would upgrade: {', '.join(steps)}")
        else:
            schema.upgrade(engine)
            self.out(f"upgraded: {', '.join(steps)}")


class Version(_SchemaCommand):
    """Print the version of the ledger's schema.

    Example: ec2map-sync db version
    """

    def act(self, engine: Engine, _parsed_args: argparse.Namespace) -> None:
        """Ask."""
        self.out(schema.version(engine) or "none")
