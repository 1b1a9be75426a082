"""ec2map-sync demo."""

import logging
import sys

from ec2map_sync.cli.base import Arguments, Command, Parser
from ec2map_sync.cli.main import USAGE_ERROR

MOST_REGIONS = 6
FEWEST_IMAGES = 4
"""Two that collide, and one for each other part."""
MOST_IMAGES = 500
INTERRUPTED = 130
"""What a shell answers for a program that Ctrl-C has ended."""


class RunDemo(Command):
    """Show it all at work: several regions in one process, no server.

    Images are created and copied, two of them collide, a region is cut off
    and returns; in the end every region's Nova answers the same EC2 ids.
    Exit code 0 if they do, 1 if not. Nothing is kept. With --debug before
    the command, the services' logs are shown too.

    Example: ec2map-sync demo --regions 4 --images 100
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "--regions",
            type=int,
            default=3,
            metavar="N",
            help=f"how many regions, 2 to {MOST_REGIONS} (default: 3)",
        )
        parser.add_argument(
            "--images",
            type=int,
            default=200,
            metavar="N",
            help=f"how many images, {FEWEST_IMAGES} to {MOST_IMAGES}; two of "
            "them collide (default: 200)",
        )

    def take_action(self, parsed_args: Arguments) -> int:
        """Runs it."""
        wrong = _wrong(parsed_args)
        if wrong:
            print(f"ec2map-sync demo: {wrong}", file=sys.stderr)
            return USAGE_ERROR
        try:
            return self._run(parsed_args.regions, parsed_args.images)
        except KeyboardInterrupt:
            self.out("interrupted: everything is stopped and removed")
            return INTERRUPTED

    def _run(self, regions: int, images: int) -> int:
        if not self.app.options.debug:
            logging.disable()
        # These are slow to import, and some log when they are.
        from ec2map_sync.demo.picture import screen  # noqa: PLC0415
        from ec2map_sync.demo.run import run  # noqa: PLC0415

        shown = screen(self.app.stdout)
        ending = run(regions, images, shown)
        shown.end(ending)
        return 0 if ending.is_good else 1


def _wrong(parsed_args: Arguments) -> str | None:
    """Returns which argument cannot be, and why."""
    for name, low, high in (
        ("regions", 2, MOST_REGIONS),
        ("images", FEWEST_IMAGES, MOST_IMAGES),
    ):
        value = getattr(parsed_args, name)
        if not low <= value <= high:
            return f"--{name} {value}: it takes {low} to {high}"
    return None
