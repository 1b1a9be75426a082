"""What the package logs, as a part of the trace."""

import logging
import re

from played import nature

_MISSED = re.compile(r"not all as settled: .*\b[1-9]\d* missing")

_TWISTED = "the ledger contradicted itself"
"""What nobody but the package has written is never to be put right."""

_UNTRUE = re.compile(
    r"it was restored, and has not said so"
    r"|it has signed two statements numbered"
)
"""That is said of nobody who could know that its ledger was restored."""


class Ear(logging.Handler):
    """Puts what the package logs into the trace."""

    def emit(self, record: logging.LogRecord) -> None:
        """Notes a line."""
        task = nature.current()
        if task is not None:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f" ({record.exc_info[1]!r})"
            line = f"{task.process.name}: {record.levelname} {text}"
            nature.scheduler().trace(line)
            scheduler = nature.scheduler()
            untrue = _UNTRUE.search(text) and not scheduler.unnoticed
            wrong = _TWISTED in text or untrue
            if record.levelno >= logging.ERROR or wrong:
                scheduler.mistakes.append(line)
            if _MISSED.search(text):
                scheduler.missed.append(line)
            if "are made without having compared" in text:
                scheduler.blind = True


def listen() -> None:
    """Lets the package's log be part of the trace."""
    logger = logging.getLogger("ec2map_sync")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [Ear()]
    for name in ("alembic", "sqlalchemy", "kombu", "oslo_messaging"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
