"""The quadlet, read by podman's own generator, is a unit of systemd's."""

import os
import shlex
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest
from patience import within
from servers import find_program

ROOT = Path(__file__).parents[2]
QUADLET = ROOT / "etc/quadlet/ec2map-sync.container"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRRORS = ["indextargets", "--format", "$(REPO_URI)", "Origin: Debian"]


def run(*command: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=within(280),
        check=False,
        **options,
    )


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> Path:
    """Podman 5's generator, unpacked from Debian 13: Debian 12 has none."""
    mirrors = run(find_program("apt-get", "apt"), *MIRRORS, "Label: Debian")
    assert mirrors.stdout, "apt-get knows no mirror of Debian's"
    mirror = mirrors.stdout.splitlines()[0]
    root = tmp_path_factory.mktemp("podman") / "root"
    done = run(
        find_program("mmdebstrap", "mmdebstrap"),
        "--quiet",
        "--variant=extract",
        "--include=podman",
        "trixie",
        root,
        f"deb [signed-by={KEYS}] {mirror} trixie main",
    )
    assert done.returncode == 0, done.stderr
    return root / "usr/libexec/podman/quadlet"


def generate(generator: Path, directory: Path):
    units = directory / "units"
    done = run(generator, units, env={"QUADLET_UNIT_DIRS": str(directory)})
    return done, units / "ec2map-sync.service"


@pytest.fixture(scope="module")
def unit(generator, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("containers")
    (directory / QUADLET.name).write_text(QUADLET.read_text())

    done, unit = generate(generator, directory)

    assert (done.returncode, done.stdout) == (0, "")
    return unit


@pytest.fixture
def command(unit):
    """What systemd will execute: podman and its arguments."""
    (line,) = (
        line.removeprefix("ExecStart=")
        for line in unit.read_text().splitlines()
        if line.startswith("ExecStart=")
    )
    return shlex.split(line)


def test_a_key_that_podman_does_not_know_is_refused(generator, tmp_path):
    text = QUADLET.read_text().replace("ReadOnly=", "ReadOnyl=")
    (tmp_path / QUADLET.name).write_text(text)

    done, unit = generate(generator, tmp_path)

    assert done.returncode != 0
    assert not unit.exists()


def test_systemd_understands_every_line(unit, tmp_path):
    # Podman itself is not installed here.
    there = tmp_path / unit.name
    there.write_text(unit.read_text().replace("/usr/bin/podman", "/bin/true"))

    done = run(
        find_program("systemd-analyze", "systemd"), "verify", "--man=no", there
    )

    said = (done.stdout + done.stderr).splitlines()
    ours = [line for line in said if unit.stem in line]
    assert (done.returncode, ours) == (0, [])


def test_podman_gives_the_agent_what_it_needs_and_no_more(command):
    pairs = set(pairwise(command))

    assert {"--read-only", "--sdnotify=container"} <= set(command)
    assert ("--cap-drop", "all") in pairs
    assert "--security-opt=no-new-privileges" in command
    assert ("-v", "/etc/ec2map-sync:/etc/ec2map-sync:ro,Z") in pairs
    assert ("-v", "ec2map-sync:/var/lib/ec2map-sync") in pairs


class Health(BaseHTTPRequestHandler):
    """Answers as /healthz of the agent's server does."""

    status = 200

    def do_GET(self):
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def agent():
    """Something that answers probes, and its address."""
    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_is_that_of_the_agent(
    command, agent, monkeypatch, status, code
):
    monkeypatch.setattr(Health, "status", status)
    checks = command[command.index("--health-cmd") + 1]
    listen = f"127.0.0.1:{agent.server_port}"

    done = run(
        "sh", "-c", checks, env=os.environ | {"OS_METRICS__LISTEN": listen}
    )

    assert done.returncode == code
