"""The package on a machine that is up: what systemd makes of its unit."""

import json
import shutil
from pathlib import Path

import pytest
from debian_root import (
    ACCOUNT,
    CONFIGURATION,
    STATE,
    UNIT,
    Installation,
    Machine,
)
from patience import wait_until

pytestmark = pytest.mark.services

PROBE = Path(__file__).parent / "probe.py"
PYTHON = "/usr/lib/ec2map-sync/bin/python"
FORBIDDEN = {
    "write its state": "may",
    "write elsewhere": "EROFS",
    "see homes": "EACCES",
    "see others' processes": "ENOENT",
    "make a program of data": "EPERM",
    "speak with the kernel": "EAFNOSUPPORT",
    "make a set-user-id file": "EPERM",
    "make a namespace": "EPERM",
    "trace a process": "SIGSYS",
}


@pytest.fixture(scope="module")
def machine(pristine, package, tmp_path_factory):
    directory = tmp_path_factory.mktemp("machine")
    pristine.copied(directory / "root")
    (directory / "root/usr/sbin/policy-rc.d").unlink()
    with Machine(directory) as machine:
        machine.install(package)
        yield machine


@pytest.fixture(scope="module")
def installation(machine, rabbit_a):
    """The package; its agent is started as by an operator."""
    assert machine.unit("ActiveState") == "inactive"
    assert machine.unit("UnitFileState") == "disabled"
    installation = Installation(machine, rabbit_a, "booted")
    machine.systemctl("enable", "--now", UNIT)
    try:
        yield installation
    finally:
        print(machine.journal()[-8000:])


def drop(machine: Machine, name: str, line: str) -> None:
    """Add a line to the unit, as an operator would."""
    place = machine.place / f"etc/systemd/system/{UNIT}.service.d"
    place.mkdir(exist_ok=True)
    (place / name).write_text(f"[Service]\n{line}\n")
    machine.systemctl("daemon-reload")


def test_systemd_starts_it(installation):
    assert installation.root.unit("ActiveState") == "active"

    installation.maps_images()


def test_the_unit_keeps_it_from_what_it_does_not_need(installation):
    machine = installation.root
    shutil.copy(PROBE, machine.place / "usr/local/lib")
    (machine.place / "srv").chmod(0o777)
    probe = [PYTHON, "/usr/local/lib/probe.py"]
    probing = f"{' '.join(probe)} >$STATE_DIRECTORY/probe.json"
    drop(machine, "probe.conf", f"ExecStartPost=sh -c '{probing}'")

    machine.systemctl("restart", UNIT)

    told = (machine.place / STATE / "probe.json").read_text()
    assert json.loads(told) == FORBIDDEN
    # Otherwise, the same account may do all of it.
    free = machine.run(*probe, account=ACCOUNT)
    assert json.loads(free) == dict.fromkeys(FORBIDDEN, "may")


def test_killed_it_is_started_anew(installation):
    machine = installation.root
    first = machine.unit("MainPID")

    machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", UNIT)

    wait_until(
        lambda: (
            machine.unit("MainPID") not in {"0", first}
            and machine.unit("ActiveState") == "active"
        ),
        60,
    )
    assert machine.unit("NRestarts") == "1"
    installation.maps_images()


def test_started_anew_when_one_of_its_processes_hangs(installation):
    machine = installation.root
    drop(machine, "watchdog.conf", "WatchdogSec=20")
    machine.systemctl("restart", UNIT)
    installation.maps_images()
    first = machine.unit("MainPID")
    children = f"cat /proc/{first}/task/*/children"
    hung = machine.run("sh", "-c", children).split()[-1]

    machine.run("sh", "-c", f"kill -STOP {hung}")

    wait_until(
        lambda: (
            machine.unit("MainPID") not in {"0", first}
            and machine.unit("ActiveState") == "active"
        ),
        120,
    )
    assert "Watchdog timeout" in machine.journal()
    machine.run("test", "-e", f"/proc/{hung}", code=1)
    installation.maps_images()


def test_an_upgrade_starts_the_new_one(installation, next_package):
    machine = installation.root
    first = machine.unit("MainPID")
    before = (machine.place / CONFIGURATION).read_bytes()

    machine.install(next_package)

    assert machine.unit("ActiveState") == "active"
    assert machine.unit("MainPID") not in {"0", first}
    assert (machine.place / CONFIGURATION).read_bytes() == before
    installation.maps_images()


def test_told_to_stop_it_ends_with_0(installation):
    machine = installation.root

    machine.systemctl("stop", UNIT)

    assert machine.unit("Result") == "success"
    assert machine.unit("ExecMainStatus") == "0"


def test_purged_it_runs_no_more(installation):
    machine = installation.root
    machine.systemctl("start", UNIT)
    agent = machine.unit("MainPID")

    machine.run("dpkg", "--purge", "ec2map-sync")

    machine.run("test", "-e", f"/proc/{agent}", code=1)
    assert machine.unit("LoadState") == "not-found"
