"""The part of ec2map-sync verify that looks at what guests see."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from ec2map_sync.cli.base import Arguments, BadArgument, Parser
from ec2map_sync.cli.files import written
from ec2map_sync.cli.progress import progress
from ec2map_sync.operate.guests import (
    check_guests,
    check_instances,
    check_nova,
)
from ec2map_sync.operate.nova import NovaProgram
from ec2map_sync.operate.verify import Verdict
from ec2map_sync.region import Region
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.sinks import instances
from ec2map_sync.sinks.guests import GuestView
from ec2map_sync.sinks.nova import NovaSink

PutLine = Callable[[Mapping[str, object]], object]
"""Takes an instance that carries another id."""

NOVA_FILE = "/etc/nova/nova.conf"


def add_guests(parser: Parser) -> None:
    """Lets a command take what --guests may need."""
    parser.add_argument(
        "--instances",
        metavar="FILE",
        type=Path,
        help="with --guests: write instances that carry another id to "
        "a file, in lines of JSON",
    )
    parser.add_argument(
        "--nova-python",
        metavar="PYTHON",
        help="with --guests: ask Nova's own code too, by a Python that has it",
    )
    parser.add_argument(
        "--nova-config-file",
        metavar="FILE",
        action="append",
        default=[],
        help=f"configuration of Nova's API for that ({NOVA_FILE}); may be "
        "given more than once",
    )


def require_guests(chosen: Arguments) -> None:
    """Sees that what is for --guests is given with it.

    :raises BadArgument: it is not.
    """
    given = (chosen.instances, chosen.nova_python, chosen.nova_config_file)
    if any(given) and not chosen.guests:
        raise BadArgument(
            "--instances and --nova-python are for --guests: add it"
        )
    if chosen.nova_config_file and not chosen.nova_python:
        raise BadArgument("--nova-config-file is for --nova-python: add it")


@contextmanager
def instances_file(chosen: Arguments) -> Iterator[PutLine]:
    """Gives what writes instances into the file that was asked for."""
    if chosen.instances is None:
        yield lambda _line: None
        return
    with written(chosen.instances, sys.stdout) as put:
        yield lambda line: put(f"{json.dumps(line)}\n".encode())


class GuestChecks:
    """The checks of what guests see in each cell, for a command."""

    def __init__(
        self, region: Region, chosen: Arguments, put: PutLine
    ) -> None:
        self._region = region
        self._chosen = chosen
        self._put = put

    def all(self) -> Iterator[tuple[str, str, Callable[[], Verdict]]]:
        """Returns what there is to check: what it is, its name, and how."""
        for sink in self._region.sinks:
            if isinstance(sink, NovaSink):
                view = self._region.guests(sink)
                yield "guests", sink.name, partial(self._guests, view)
                yield "instances", sink.name, partial(self._instances, view)
                if self._chosen.nova_python:
                    yield "nova", sink.name, partial(self._nova, view)

    def _guests(self, view: GuestView) -> Verdict:
        total = self._region.ledger.head().total.count
        with progress(f"guests of {view.sink.name}", total) as advance:
            return check_guests(view, advance=advance)

    def _instances(self, view: GuestView) -> Verdict:
        with progress(f"instances of {view.sink.name}", None) as advance:
            try:
                return check_instances(view, self._put, advance=advance)
            except DBAPIError as error:
                if instances.is_denied(error):
                    raise InstancesRefused(
                        view.sink.instances_grant
                    ) from error
                raise

    def _nova(self, view: GuestView) -> Verdict:
        files = self._chosen.nova_config_file or [NOVA_FILE]
        nova = NovaProgram(self._chosen.nova_python, files)
        return check_nova(nova, view, self._region.ledger)


class InstancesRefused(Ec2MapError):
    """A right that only this needs is missing."""

    def __init__(self, grant: str) -> None:
        super().__init__(f"instances may not be read: {grant}")
