"""The program ec2map-sync-status: whether this release may start here.

Its command line, output and exit codes are oslo.upgradecheck's, as with
every service of OpenStack, so that deployment tools know what to do with it.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck
from oslo_upgradecheck.upgradecheck import Code, Result
from sqlalchemy.exc import SQLAlchemyError

from ec2map_sync import outages
from ec2map_sync.broker import inside
from ec2map_sync.cli.main import written
from ec2map_sync.glance import listener
from ec2map_sync.ledger import schema
from ec2map_sync.region import Region
from ec2map_sync.rules.errors import Ec2MapError
from ec2map_sync.settings.config import PROJECT, Config
from ec2map_sync.settings.loading import load

COULD_NOT_CHECK = 255
"""Exit code: as oslo.upgradecheck has it."""


def _in_one_line(check: Callable[..., Result]) -> Callable[..., Result]:
    """Makes what keeps a check from its work a failure that says so."""

    @wraps(check)
    def checked(self: "UpgradeChecks") -> Result:
        try:
            return check(self)
        except Ec2MapError as error:
            return Result(Code.FAILURE, str(error))
        except SQLAlchemyError as error:
            return Result(Code.FAILURE, f"ledger: {outages.describe(error)}")

    return checked


class UpgradeChecks(upgradecheck.UpgradeCommands):
    """What is to be seen before services are started by a new release."""

    config: Config

    @_in_one_line
    def _configuration(self) -> Result:
        """Returns whether this release understands the configuration."""
        self.config.check()
        return Result(Code.SUCCESS)

    @_in_one_line
    def _ledger(self) -> Result:
        """Returns whether schema and server are as this release needs."""
        schema.require(Region(self.config).engine)
        return Result(Code.SUCCESS)

    @_in_one_line
    def _quarantine(self) -> Result:
        """Returns whether something is held that this release may read."""
        region = Region(self.config)
        if schema.pending(region.engine):
            return Result(Code.SUCCESS, "none can be read before the upgrade")
        held = region.ledger.quarantine.count()
        if not held:
            return Result(Code.SUCCESS)
        return Result(
            Code.WARNING,
            f"{held} in quarantine, which this release may understand: once "
            f"its agent runs, '{PROJECT} quarantine retry --all'",
        )

    def _libraries(self) -> Result:
        """Returns whether the broker's libraries are as we know them."""
        others = inside.unknown()
        if not others:
            return Result(Code.SUCCESS)
        return Result(
            Code.WARNING,
            "py-amqp, kombu or oslo.messaging is of a version that we do not "
            f"know: {'; '.join(others)}; constraints.txt names those tried",
        )

    _upgrade_checks = (
        ("Configuration", _configuration),
        ("Ledger", _ledger),
        ("Quarantine", _quarantine),
        ("Libraries", _libraries),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program: 0 ready, 1 look at it, 2 not ready, 255 not seen."""
    checks = UpgradeChecks()

    def prepare(conf: cfg.ConfigOpts) -> None:
        listener.register_options(conf)
        upgradecheck.register_cli_options(conf, checks)

    try:
        checks.config = load(
            sys.argv[1:] if argv is None else argv, prepare=prepare
        )
    except Ec2MapError as error:
        print(f"{PROJECT}-status: {error}", file=sys.stderr)
        return COULD_NOT_CHECK
    # Where it looks for --json; its own main() would read no other options.
    upgradecheck.CONF = checks.config.conf
    code = upgradecheck.run(checks.config.conf)
    return written(code, f"{PROJECT}-status")


if __name__ == "__main__":
    sys.exit(main())
