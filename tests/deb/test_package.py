"""The package where nothing is started: installed, replaced, removed."""

import filecmp
import os
import subprocess
from pathlib import Path

import pytest
from debian_root import (
    ACCOUNT,
    CONFIGURATION,
    NEXT,
    STATE,
    Installation,
    Root,
)
from patience import within
from servers import find_program

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def root(pristine, package, tmp_path_factory):
    place = tmp_path_factory.mktemp("installed") / "root"
    root = Root(pristine.copied(place))
    root.install(package)
    return root


@pytest.fixture(scope="module")
def installation(root, rabbit_a):
    return Installation(root, rabbit_a, "packaged")


@pytest.fixture
def agent(installation):
    """The agent, as the unit would start it."""
    command = ["ec2map-sync-agent", "--config-file", f"/{CONFIGURATION}"]
    agent = subprocess.Popen(
        installation.root.entering(*command, account=ACCOUNT),
        stdin=subprocess.DEVNULL,
    )
    yield agent
    agent.kill()
    agent.wait()


def owner(root: Root, path: str) -> str:
    return root.run("stat", "--format=%U:%G %a", f"/{path}").strip()


def version(package: Path) -> str:
    return package.name.split("_")[1]


def is_before(one: str, other: str) -> bool:
    compare = ["dpkg", "--compare-versions", one, "lt", other]
    return subprocess.run(compare, check=False).returncode == 0


def test_lintian_finds_no_error(package):
    lintian = find_program("lintian", "lintian")

    done = subprocess.run(
        [lintian, "--fail-on=error", package],
        check=False,
        capture_output=True,
        text=True,
        timeout=within(120),
    )

    assert done.returncode == 0, done.stdout


def test_a_bare_copy_of_the_tree_gives_the_same_package(
    bare, package, tmp_path
):
    # When it was built stands in the head of its first member.
    built = package.read_bytes()[24:36].decode().strip()

    subprocess.run(
        [bare / "tools/deb", tmp_path],
        check=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": built},
    )

    assert filecmp.cmp(tmp_path / package.name, package, shallow=False)


def test_what_comes_before_a_release_sorts_before_it(package, next_package):
    assert is_before(version(package), version(next_package))
    assert is_before(version(next_package), "999-1")


def test_only_the_agent_may_read_its_directories(root):
    assert owner(root, "etc/ec2map-sync") == f"root:{ACCOUNT} 750"
    assert owner(root, STATE) == f"{ACCOUNT}:{ACCOUNT} 700"


def test_its_user_can_run_the_commands(root):
    for command in ("ec2map-sync", "ec2map-sync-agent", "ec2map-sync-status"):
        assert root.run(command, "--help", account=ACCOUNT)


def test_nothing_is_compiled_while_it_runs(root):
    lib = "usr/lib/ec2map-sync/lib"
    before = root.files()
    assert any(f.startswith(f"/{lib}") and f.endswith(".pyc") for f in before)

    root.run("ec2map-sync", "--version")

    assert root.files() == before


def test_the_agent_maps_images_until_its_signal(installation, agent):
    installation.maps_images()

    agent.terminate()

    assert agent.wait(within(45)) == 0


def test_an_upgrade_keeps_the_configuration(installation, next_package):
    root = installation.root
    configuration = root.place / CONFIGURATION
    configuration.parent.chmod(0o700)
    before = configuration.read_bytes()

    root.install(next_package)

    assert installation.command("--version") == f"ec2map-sync {NEXT}\n"
    assert configuration.read_bytes() == before
    assert owner(root, "etc/ec2map-sync") == f"root:{ACCOUNT} 700"


def test_removed_it_leaves_what_the_operator_has_made(installation):
    root = installation.root

    root.run("dpkg", "--remove", "ec2map-sync")

    assert (root.place / CONFIGURATION).exists()
    assert (root.place / STATE / "ledger").exists()
    assert not (root.place / "usr/lib/ec2map-sync").exists()


def test_purged_it_leaves_nothing(installation, pristine):
    root = installation.root

    root.run("dpkg", "--purge", "ec2map-sync")

    assert root.files() == pristine.files()
    assert root.accounts() == pristine.accounts()
