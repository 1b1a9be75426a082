"""Nova's own code, asked in a fresh process of a Python that has it."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ec2map_sync.rules.errors import Ec2MapError

PROGRAM = Path(__file__).with_name("in_nova.py")

PATIENCE = 300.0
"""Seconds in which Nova has to have answered; it takes a few to start."""


class NovaSilent(Ec2MapError):
    """Nova's own code cannot be asked."""


@dataclass(frozen=True, slots=True)
class NovaProgram:
    """A Python that has Nova, and the files that its services read."""

    python: str
    config_files: Sequence[str]

    def look_up(self, cell: str, images: Sequence[str]) -> list[int | None]:
        """Returns which number Nova finds for each image; None if it has none.

        :raises NovaSilent: it does not say.
        """
        options = [f"--config-file={file}" for file in self.config_files]
        question = json.dumps({"cell": cell, "images": list(images)})
        try:
            done = subprocess.run(  # noqa: S603, the operator names it
                [self.python, "-I", str(PROGRAM), *options],
                input=question,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
                # Another environment's Python: ours is nothing to it. Older
                # releases of Nova would make everything green otherwise.
                env={"OS_NOVA_DISABLE_EVENTLET_PATCHING": "1"}
                | {n: os.environ[n] for n in _NEEDED if n in os.environ},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NovaSilent(f"{self.python}: {error}") from error
        said = done.stdout.strip().splitlines()
        if done.returncode or not said:
            raise NovaSilent(f"{self.python}: {_last_line(done.stderr)}")
        answer: list[int | None] = json.loads(said[-1])
        return answer


_NEEDED = ("PATH", "HOME", "LANG")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "Nova says nothing"
