"""What is judged: the commit, as far as git knows."""

import subprocess
from pathlib import Path


def commit() -> str:
    """Tell which commit is judged."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
