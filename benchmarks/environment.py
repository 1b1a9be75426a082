"""An environment of its own for Ceilometer, made when first needed."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINS = HERE / "ceilometer.txt"
CACHE = HERE.parent / ".benchmarks"


def ceilometer_python() -> Path:
    """Give the Python of an environment that has what is pinned."""
    terms = PINS.read_bytes() + sys.version.encode()
    directory = CACHE / f"ceilometer-{hashlib.sha256(terms).hexdigest()[:12]}"
    python = directory / "bin" / "python"
    complete = directory / "complete"
    if not complete.exists():
        venv.create(directory, clear=True, with_pip=True)
        pip = (python, "-m", "pip", "install", "-qq", "--no-deps")
        # tox sets our own constraints for whatever it installs.
        variables = {
            k: v for k, v in os.environ.items() if k != "PIP_CONSTRAINT"
        }
        subprocess.run(
            [*pip, "--requirement", PINS], check=True, env=variables
        )
        complete.touch()
    return python
