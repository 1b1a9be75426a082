"""The container image, built and run: by `tox -e image`, as root."""

import os
import subprocess
from pathlib import Path

import pytest
from servers import find_program

ROOT = Path(__file__).parents[2]
BUILT = "EC2MAP_SYNC_IMAGE"
"""Names the directory where `tools/image` has left it."""

# Building it takes minutes, and needs Debian's mirror.
collect_ignore_glob = [] if BUILT in os.environ else ["test_*.py"]


@pytest.fixture(scope="session")
def image() -> Path:
    """The directory with the image and its bill of materials."""
    return ROOT / os.environ[BUILT]


@pytest.fixture(scope="session")
def bundle(image, tmp_path_factory) -> Path:
    """The image unpacked, with a configuration for a container runtime."""
    place = tmp_path_factory.mktemp("bundle") / "it"
    umoci = find_program("umoci", "umoci")
    subprocess.run(
        [umoci, "unpack", "--image", f"{image}/oci:latest", place], check=True
    )
    return place
