"""OpenStack's programs, and the tables that they make."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from patience import within
from servers import MariaDB, find_program

ROOT = Path(__file__).parents[2]


def variables() -> dict[str, str]:
    """Give the environment variables of OpenStack's programs."""
    given = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ}
    # The directory of a script may hide a package of the same name.
    return given | {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Programs:
    """OpenStack's programs, in an environment of their own."""

    environment: Path

    @classmethod
    def installed(cls) -> Self:
        """Find them; the first time, install them."""
        done = subprocess.run(
            [ROOT / "tools" / "openstack-env"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return cls(Path(done.stdout.strip()))

    def path(self, name: str) -> str:
        """Give the path of a program."""
        return str(self.environment / "bin" / name)

    def version(self, package: str) -> str:
        """Tell which version of a package is installed."""
        code = f"from importlib.metadata import *; print(version('{package}'))"
        return self.run("python", "-c", code).strip()

    def run(self, name: str, *arguments: str, code: int = 0) -> str:
        """Run a program, which ends with a code; what it printed."""
        done = subprocess.run(
            [self.path(name), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=variables(),
            timeout=within(300),
            check=False,
        )
        if done.returncode != code:
            raise AssertionError(
                f"{name} {' '.join(arguments)} ended with"
                f" {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout


@dataclass(frozen=True)
class Schemas:
    """The tables of OpenStack's databases, as its own programs make them.

    What has been made once is kept beside the programs: making all of it
    takes a minute.
    """

    mariadb: MariaDB
    programs: Programs

    def make(self, url: str, kind: str, sync: Callable[[], object]) -> None:
        """Make the tables of a database: copy them, or let ``sync`` do it."""
        database = sa.make_url(url).database or ""
        kept = self.programs.environment / "schemas" / f"{kind}.sql"
        if kept.exists():
            with kept.open("rb") as file:
                subprocess.run(
                    self._client("mariadb", database), check=True, stdin=file
                )
            return
        sync()
        kept.parent.mkdir(exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")
        with fresh.open("wb") as file:
            subprocess.run(
                self._client("mariadb-dump", database), check=True, stdout=file
            )
        fresh.rename(kept)

    def _client(self, program: str, database: str) -> list[str]:
        return [
            find_program(program, "mariadb-client"),
            "--no-defaults",
            "--host=127.0.0.1",
            f"--port={self.mariadb.port}",
            "--user=root",
            database,
        ]
