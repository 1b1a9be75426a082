"""What a running agent tells systemd, whoever of its processes hangs."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from commands import SmallRegion
from patience import wait_until, within

AGENT = Path(sys.executable).parent / "ec2map-sync-agent"
SECONDS = 8
"""As the unit's WatchdogSec."""


@pytest.fixture
def systemd(tmp_path):
    """The socket that systemd reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(tmp_path / "notify"))
        reader.settimeout(within(60))
        yield reader


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def agent(tmp_path, systemd, log):
    """An agent that systemd would watch; no broker answers it."""
    command = [AGENT, "--config-file", SmallRegion(tmp_path).config_file]
    environ = {
        **os.environ,
        "NOTIFY_SOCKET": systemd.getsockname(),
        "WATCHDOG_USEC": str(SECONDS * 1_000_000),
    }
    environ.pop("WATCHDOG_PID", None)
    with log.open("w") as said:
        agent = subprocess.Popen(command, env=environ, stdout=said)
    yield agent
    agent.kill()
    agent.wait()


def children(process):
    """Give the processes that the agent's first one has started."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    found = [(task / "children").read_text().split() for task in tasks]
    return [int(pid) for pids in found for pid in pids]


def wait_until_told(reader, what):
    while reader.recv(4096) != what:
        pass


def is_told_no_more(reader):
    """Tell whether, but for what was said before, nothing comes."""
    patience = reader.gettimeout()
    reader.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            reader.recv(4096)
    reader.settimeout(SECONDS)
    try:
        reader.recv(4096)
    except TimeoutError:
        return True
    finally:
        reader.settimeout(patience)
    return False


def test_systemd_is_told_until_a_process_hangs(agent, systemd, log):
    wait_until_told(systemd, b"READY=1")
    wait_until_told(systemd, b"WATCHDOG=1")
    wait_until(lambda: log.read_text().count(" started") == 4, 60)
    hung = children(agent)[-1]

    os.kill(hung, signal.SIGSTOP)
    try:
        wait_until(lambda: "nothing is heard of" in log.read_text(), 60)
        assert is_told_no_more(systemd)
    finally:
        os.kill(hung, signal.SIGCONT)
    wait_until_told(systemd, b"WATCHDOG=1")

    agent.terminate()
    assert agent.wait(within(60)) == 0
