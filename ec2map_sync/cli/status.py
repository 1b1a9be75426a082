"""ec2map-sync status."""

import signal
from collections.abc import Sequence
from typing import Any

from rich.live import Live
from rich.table import Table

from ec2map_sync.cli.base import FAILURE, NOT_IN_ORDER, Arguments, Parser, Rows
from ec2map_sync.cli.regional import RegionLister
from ec2map_sync.cli.values import Unmeasured, moment, present, seconds
from ec2map_sync.monitor.status import Line
from ec2map_sync.operate import status
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.running.loop import Wake

COLUMNS = (
    "what",
    "name",
    "state",
    "position",
    "lag",
    "lag_seconds",
    "last_error",
)
_FIGURES = {
    "service": {"position", "lag_seconds"},
    "peer": {"position", "lag", "lag_seconds"},
    "canary": {"position", "lag_seconds"},
    "sink": {"lag", "lag_seconds"},
    "publisher": {"lag", "lag_seconds"},
}
"""What each line should have; None there is unknown, elsewhere nothing."""

_TIMES = frozenset({"service", "peer", "canary"})
"""What has a time as position; the others a revision or a count."""


class Status(RegionLister):
    """Show how the region is: services, peers, sinks, quarantine.

    Every figure is measured now; what cannot be is said to be unknown (null
    for programs), and what there is none of stays empty. For services,
    lag_seconds is the age of their last sign of life; for peers that of the
    last heartbeat, and position the time until which both sides are known
    to agree; for canaries, which there are with [canary] interval, position
    is when the newest was made that a peer has, and lag_seconds how long it
    took until we were told so; for sinks and the publisher, position is a
    revision of the ledger, lag what they have not come to yet, and
    lag_seconds the age of the oldest of that.

    With [notifications] management_url, a queue of Glance's that a policy
    empties, or that nobody reads, has a line as well.

    Loops that the configuration no longer asks for are listed for a day.
    Exit code 1 if somebody has to look: a service is silent or waits, a
    peer is silent or has differed for a minute, a canary does not come back,
    a sink does not move, a
    queue may lose what is in it. What
    lies in quarantine is shown and leaves the exit code alone. 2 if the
    ledger does not answer.

    Example: ec2map-sync status --watch 2
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "--watch",
            type=seconds,
            metavar="S",
            help="show it again every S seconds, until interrupted",
        )

    def run(self, parsed_args: Arguments) -> int:
        """Looks once, or again and again."""
        if parsed_args.watch is None:
            return super().run(parsed_args)
        with Interrupt() as interrupt:
            self._interrupt = interrupt
            while True:
                self.exit_code = 0
                code = super().run(parsed_args)
                if interrupt.comes_within(parsed_args.watch):
                    return code

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Looks."""
        pause, pretty = parsed_args.watch, parsed_args.formatter == "table"
        if pause is not None and pretty and self.app.stdout.isatty():
            raise SystemExit(self._live(pause))
        return COLUMNS, [_row(line) for line in self._lines()]

    def _lines(self) -> list[Line]:
        lines = status.lines(self.region, clock=wall_clock)
        healthy = all(line.healthy for line in lines)
        self.exit_code = 0 if healthy else NOT_IN_ORDER
        return lines

    def _live(self, pause: float) -> int:
        """Redraws one screen until interrupted; gives the exit code."""
        with Live(auto_refresh=False) as live:
            while True:
                live.update(self._screen(), refresh=True)
                if self._interrupt.comes_within(pause):
                    return self.exit_code

    def _screen(self) -> Any:
        table = Table(*COLUMNS)
        try:
            lines = self._lines()
        except Exception as error:  # noqa: BLE001, it is shown, and asked again
            self.exit_code = FAILURE
            return self.explain(error)
        for line in lines:
            cells = [str(present(v, machine=False)) for v in _row(line)]
            style = "" if line.healthy else "bold red"
            table.add_row(*cells, style=style)
        return table


class Interrupt:
    """Lets Ctrl-C end the waiting between two looks, and never a look.

    In the middle of one it would meet a database's driver, which then has
    a lot to say. A second one interrupts whatever there is.
    """

    def __init__(self) -> None:
        self._wake = Wake()
        self._came = False

    def __enter__(self) -> "Interrupt":
        """Watches for it."""
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        """Lets it do what it did before."""
        signal.signal(signal.SIGINT, self._before)
        self._wake.close()

    def comes_within(self, pause: float) -> bool:
        """Waits for so long; True as soon as it has come."""
        if not self._came:
            self._wake.wait(pause)
        return self._came

    def _note(self, *_signal: object) -> None:
        self._came = True
        self._wake.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _row(line: Line) -> Sequence[Any]:
    row = {column: getattr(line, column) for column in COLUMNS}
    if line.what in _TIMES:
        row["position"] = moment(line.position)
    for name in _FIGURES.get(line.what, ()):
        if row[name] is None:
            row[name] = Unmeasured()
    return tuple(row.values())
