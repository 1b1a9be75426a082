"""openstack ec2 image list, show, check."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from osc_lib.command import command

from ec2map_sync.osc.plugin import Listed, names_of

FIELDS = ("ec2_id", "image", "kind", "claimed_at")
HEADS = ("EC2 ID", "Image ID", "Kind", "Claimed At")


class ListEc2Images(command.Lister):
    """List images and their EC2 ids, in the order in which they changed."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Says what it takes."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--long",
            action="store_true",
            help="list names too, as Glance has them",
        )
        parser.add_argument(
            "--marker",
            metavar="<image>",
            help="begin behind this image (UUID or EC2 id)",
        )
        parser.add_argument(
            "--limit", type=int, metavar="<n>", help="list at most so many"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Listed:
        """Lists."""
        clients: Any = self.app.client_manager
        found = clients.ec2_mapping.images(parsed_args.marker)
        rows: Iterator[list[Any]] = ([one[f] for f in FIELDS] for one in found)
        if parsed_args.limit is not None:
            rows = islice(rows, max(0, parsed_args.limit))
        if not parsed_args.long:
            return HEADS, rows
        names = names_of(clients.sdk_connection.image.images())
        return (*HEADS, "Name"), (
            [*row, names.get(row[1].lower(), "")] for row in rows
        )


class ShowEc2Image(command.ShowOne):
    """Show an image's EC2 id, or the image that an EC2 id stands for."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Says what it takes."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "name", metavar="<image>", help="an image's UUID, or an EC2 id"
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Sequence[Any]]:
        """Looks it up."""
        clients: Any = self.app.client_manager
        found = clients.ec2_mapping.image(parsed_args.name)
        return tuple(found), tuple(found.values())


class CheckEc2Images(command.Lister):
    """Look whether every image that Glance shows you has an EC2 id.

    Lists those that have none; exit code 1 if there are any.
    """

    exit_code = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Says what it takes."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "images",
            nargs="*",
            metavar="<image>",
            help="UUIDs to look at, in the place of all that Glance shows",
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Looks, and tells by the exit code whether all is well."""
        return int(super().run(parsed_args) or self.exit_code)

    def take_action(self, parsed_args: argparse.Namespace) -> Listed:
        """Looks."""
        clients: Any = self.app.client_manager
        names = {image.lower(): "" for image in parsed_args.images}
        if not names:
            names = names_of(clients.sdk_connection.image.images())
        found = clients.ec2_mapping.lookup(names)
        rows = list(self._lacking(names, found))
        self.exit_code = 1 if rows else 0
        return ("Image ID", "Name"), rows

    @staticmethod
    def _lacking(
        names: dict[str, str], found: dict[str, Any]
    ) -> Iterator[tuple[str, str]]:
        for image, name in names.items():
            if found.get(image, {}).get("ec2_id") is None:
                yield image, name
