"""A Writer in a process of its own, which halts itself before a statement.

    python halted_writer.py LEDGER CELL SIGNAL BEGINNING

Before it sends a statement with this beginning (a regular expression) to
either database, it sends itself the signal; then, unless that was its end, it
goes on.
"""

import os
import re
import signal
import sys

import sqlalchemy as sa

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.ec2id import Band, Scheme
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

SCHEME = Scheme(b"test", Band(100, 132))


def main(ledger_url: str, cell_url: str, name: str, beginning: str) -> None:
    """Write what has changed, and halt on the way."""
    ledger, cell = (
        create_engine(parse_url(url, "x")) for url in (ledger_url, cell_url)
    )

    def halt(*arguments: object) -> None:
        if re.match(beginning, str(arguments[2])):
            os.kill(os.getpid(), signal.Signals[name])

    for engine in (ledger, cell):
        sa.event.listen(engine, "before_cursor_execute", halt)
    sink = NovaSink("cell1", cell)
    Writer(Ledger(ledger, SCHEME), sink, rewrite=False).step()


if __name__ == "__main__":
    main(*sys.argv[1:])
