"""The Debian package, built and installed: by `tox -e deb`, as root."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from debian_root import NEXT, TREE, Root, dependencies

BUILT = "EC2MAP_SYNC_DEB"
"""Names the directory where `tools/deb` has left it."""

# Building it takes minutes, and needs Debian's mirror.
collect_ignore_glob = [] if BUILT in os.environ else ["test_*.py"]

PARTS = ("README.rst", "LICENSE", "constraints.txt", "bindep.txt")
PARTS += ("pyproject.toml", "setup.cfg", "debian", "ec2map_sync", "etc")
PARTS += ("tools",)


def only(place: Path) -> Path:
    """Give the package that is in a directory."""
    (found,) = place.glob("*.deb")
    return found


@pytest.fixture(scope="session")
def package() -> Path:
    """The package of this tree."""
    return only(TREE / os.environ[BUILT])


@pytest.fixture(scope="session")
def bare(tmp_path_factory) -> Path:
    """A copy of the tree as it would be unpacked: git knows nothing of it."""
    copy = tmp_path_factory.mktemp("bare")
    subprocess.run(
        ["cp", "-a", *(TREE / part for part in PARTS), copy], check=True
    )
    return copy


@pytest.fixture(scope="session")
def next_package(bare, tmp_path_factory) -> Path:
    """The package of what comes before the next release."""
    place = tmp_path_factory.mktemp("next")
    setup = bare / "setup.cfg"
    old = setup.read_text()
    new = re.sub(r"(?m)^version = .*$", f"version = {NEXT}", old)
    setup.write_text(new)
    subprocess.run([bare / "tools/deb", place], check=True)
    setup.write_text(old)
    return only(place)


@pytest.fixture(scope="session")
def pristine(package, tmp_path_factory) -> Root:
    """A Debian with all that the package needs, and systemd."""
    place = tmp_path_factory.mktemp("debian") / "root"
    needed = dependencies(package)
    return Root.made(place, [*needed, "systemd-sysv", "dbus"])
