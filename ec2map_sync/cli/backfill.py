"""ec2map-sync backfill."""

import argparse
from contextlib import closing

from ec2map_sync.cli.base import Arguments, Parser, Rows, add_dry_run
from ec2map_sync.cli.progress import progress
from ec2map_sync.cli.regional import RegionLister
from ec2map_sync.glance.audit import Survey
from ec2map_sync.glance.catalogue import Catalogue
from ec2map_sync.operate.backfill import backfill
from ec2map_sync.peers.gate import late
from ec2map_sync.rules.errors import ConfigError, Ec2MapError
from ec2map_sync.rules.stamps import earlier, wall_clock

RATE = 1000
"""Images a second: a million in 17 minutes, which no Glance feels."""

MOST = 1_000_000_000

COMPARED_WITHIN = 600.0
"""Seconds since the agent has compared with a peer, at most."""


class Backfill(RegionLister):
    """Make claims for every image that Glance has and the ledger has not.

    The agent does the same once it runs, and then now and then; this is for
    doing it at once, and for seeing how many there are. It may be repeated,
    or go on after an interruption: what is known already is not written.

    Nothing is claimed unless the agent runs and has compared the ledger with
    every peer within the last ten minutes: one that was restored or emptied
    would hand out numbers that are in use.

    Example: ec2map-sync backfill --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        add_dry_run(parser, "how many images it would claim")
        parser.add_argument(
            "--rate",
            type=_rate,
            default=RATE,
            metavar="N",
            help=f"images a second, at most (default: {RATE})",
        )
        parser.add_argument(
            "--without-peers",
            action="store_true",
            help="claim though the ledger has not been compared with every "
            "peer; only where they are known to be gone",
        )

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Claims."""
        options = self.config.glance
        if options is None:
            raise ConfigError(
                "[glance] says neither auth_type nor endpoint_override: how "
                "Glance's API is reached"
            )
        if not (parsed_args.dry_run or parsed_args.without_peers):
            self._require_peers()

        with (
            closing(Catalogue(self.config.conf, options)) as catalogue,
            progress("images", None) as advance,
        ):
            survey = Survey(catalogue, believe=self.region.believe)
            backfill(
                self.region.ledger,
                survey,
                rate=parsed_args.rate,
                dry_run=parsed_args.dry_run,
                advance=advance,
            )
        if survey.unusable:
            self.note(
                f"{len(survey.unusable)} images have ids that are no UUIDs, "
                "or that are kept for canaries, for example "
                f"{survey.unusable[0][:60]}; they get no EC2 id"
            )
        seen, claimed = survey.seen - len(survey.unusable), survey.claimed
        return ("region", "seen", "claimed", "known"), [
            (self.config.region, seen, claimed, seen - claimed)
        ]

    def _require_peers(self) -> None:
        now = wall_clock()
        missing = late(
            self.region.ledger,
            [peer.name for peer in self.config.bus.peers],
            earlier(now, COMPARED_WITHIN),
            now,
        )
        if missing:
            raise Ec2MapError(
                f"nothing is claimed: the ledger was not compared with "
                f"{', '.join(missing)} lately; let the agent run, and see "
                "'ec2map-sync peer list' (or --without-peers, if they are "
                "gone)"
            )


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < MOST:
        raise argparse.ArgumentTypeError(
            f"{text}: it takes more than 0, and less than {MOST:,}"
        )
    return rate
