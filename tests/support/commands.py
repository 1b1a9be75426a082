"""A small region for tests of commands, and the program run on it."""

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import made
import schemas
import sqlalchemy as sa
from patience import within

from ec2map_sync.cli.main import main
from ec2map_sync.ledger import Ledger
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.sinks.nova import NovaSink
from ec2map_sync.sinks.writer import Writer
from ec2map_sync.sql.database import create_engine, parse_url

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Done:
    """What a command has answered."""

    code: int
    stdout: str
    stderr: str


_ALONE = threading.Lock()
"""What a program prints and logs to is the whole process's."""


def run(*arguments: str) -> Done:
    """Run `ec2map-sync …` in this process, one at a time."""
    with _ALONE:
        return _run(arguments)


def _run(arguments: Sequence[str]) -> Done:
    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        # The program logs to what it takes for stderr.
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    return Done(code, out.getvalue(), err.getvalue())


def run_program(*arguments: str) -> Done:
    """Run `ec2map-sync …` as an operator does, which takes a second."""
    done = subprocess.run(
        [BIN / "ec2map-sync", *arguments],
        capture_output=True,
        text=True,
        timeout=within(60),
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class SmallRegion:
    """A ledger and one cell in SQLite; no agent, and nobody to talk to.

    The cell may be elsewhere, at the URL ``cell``.
    """

    def __init__(self, directory: Path, cell: str | None = None) -> None:
        self.directory = directory
        self.cell = cell or f"sqlite:///{directory / 'cell1'}"
        self.config_file = directory / "region.conf"
        self.ledger_file = directory / "ledger"
        self.scheme = Scheme(b"tests")
        self.peer_key = SigningKey.generate()
        key = SigningKey.generate()
        key.save(directory / "key")
        self.key = key
        engine = create_engine(parse_url(self.url("ledger"), "ledger"))
        made.make(engine)
        self.ledger = Ledger(engine, self.scheme)
        cell1 = create_engine(parse_url(self.cell, "cell1"))
        schemas.create(cell1, schemas.S3_IMAGES)
        cell1.dispose()
        self.configure()

    def configure(self, *, peers: str = "RegionTwo", broker: str = "") -> None:
        """Write the configuration; no broker listens unless one is given."""
        dead = "amqp://guest:guest@127.0.0.1:1//"
        text = (
            f"[DEFAULT]\nregion = RegionOne\npeers = {peers}\n"
            f"[ledger]\nconnection = {self.url('ledger')}\n"
            "[ec2_ids]\nhash_key = tests\n"
            f"[bus]\nurl = {broker or dead}\nclaim_wait = 0\n"
            f"signing_key_file = {self.directory / 'key'}\n"
            "[nova]\ncells = cell1\n"
            f"[cell:cell1]\nconnection = {self.url('cell1')}\n"
        )
        for peer in filter(None, peers.split(",")):
            text += (
                f"[peer:{peer}]\nurl = {broker or dead}\n"
                f"public_keys = {self.peer_key.public}\n"
            )
        self.config_file.write_text(text)

    def url(self, database: str) -> str:
        """Give the address of "ledger" or the cell."""
        if database == "cell1":
            return self.cell
        return f"sqlite:///{self.directory / database}"

    def run(self, *arguments: str, code: int = 0) -> Done:
        """Run a command on this region; it has to end with this code."""
        done = run(*arguments, "--config-file", str(self.config_file))
        assert done.code == code, done
        return done

    def sql(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in "ledger" or the cell."""
        url = parse_url(self.url(database), database)
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(r) for r in result] if result.returns_rows else []

    def write_sinks(self) -> None:
        """Bring the cell up to date, as the agent does."""
        engine = create_engine(parse_url(self.url("cell1"), "cell1"))
        writer = Writer(self.ledger, NovaSink("cell1", engine), rewrite=False)
        while writer.step():
            pass
        engine.dispose()
