"""The lookout: what does not move, and by itself says nothing."""

import logging
from collections.abc import Callable

from ec2map_sync.monitor.status import Line

LOG = logging.getLogger(__name__)


class Lookout:
    """Says in the log what does not move, and when it moves again.

    Whoever fails says so itself; a peer that is silent, or somebody who
    waits for an answer that does not come, says nothing. ``lines`` looks at
    everything; what is amiss at two looks is worth a line.
    """

    def __init__(self, lines: Callable[[], list[Line]]) -> None:
        self._lines = lines
        self._amiss: set[tuple[str, str]] = set()
        self._said: set[tuple[str, str]] = set()

    def step(self) -> bool:
        """Looks once."""
        amiss = {
            (line.what, line.name): line
            for line in self._lines()
            if not line.healthy and line.state != "waits"
        }
        for key in sorted((amiss.keys() & self._amiss) - self._said):
            LOG.warning("%s", _said(amiss[key]))
            self._said.add(key)
        for key in sorted(self._said - amiss.keys()):
            LOG.info("%s %s is well again", *key)
            self._said.remove(key)
        self._amiss = set(amiss)
        return False


def _said(line: Line) -> str:
    since = line.lag_seconds
    text = f"{line.what} {line.name}: {line.state}"
    if since is not None:
        text += f", for {since:.0f} s"
    return f"{text}: {line.last_error}" if line.last_error else text
