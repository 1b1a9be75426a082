"""What the agent does with a configuration, and where it cannot begin."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import odd_agent
import pytest
from commands import BIN, SmallRegion, run
from patience import wait_until, within

AGENT = BIN / "ec2map-sync-agent"


def run_agent(path):
    return subprocess.run(
        [AGENT, "--config-file", path],
        capture_output=True,
        text=True,
        timeout=within(60),
        check=False,
    )


@pytest.mark.parametrize(
    ("right", "wrong", "mentioned"),
    [
        ("region = RegionOne\n", "", "[DEFAULT] region"),
        ("cells = cell1", "cells =", "[cell:cell1]"),
        ("[nova]\n", "[nova]\nexisting_rows = maybe\n", "existing_rows"),
        ("/key\n", "\n", "signing key"),
        ("/cell1\n", "/cell1?timeout=abc\n", "[cell:cell1] connection: timeo"),
    ],
)
def test_the_agent_refuses_with_one_line_and_exit_code_2(
    tmp_path, right, wrong, mentioned
):
    path = SmallRegion(tmp_path).config_file
    path.write_text(path.read_text().replace(right, wrong))

    refused = run_agent(path)

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1
    assert mentioned in refused.stderr


@contextmanager
def running(*program, to=subprocess.PIPE):
    # With it, nothing would be kept that could not be written.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        program, stdout=to, stderr=subprocess.STDOUT, text=True, env=env
    ) as agent:
        yield agent
        agent.kill()


def children(agent):
    there = Path(f"/proc/{agent.pid}/task").glob("*/children")
    return {int(pid) for file in there for pid in file.read_text().split()}


def test_a_full_disk_for_its_log_keeps_no_service_from_starting(tmp_path):
    path = SmallRegion(tmp_path).config_file
    with (
        Path("/dev/full").open("w") as full,
        running(AGENT, "--config-file", path, to=full) as agent,
    ):
        wait_until(lambda: len(children(agent)) > 3)
        before = children(agent)
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: children(agent) - before)

        agent.terminate()

        assert agent.wait(within(60)) == 0


def test_an_agent_that_can_start_no_process_ends(tmp_path):
    """Whoever has started it learns of it, and may start it again."""
    path = SmallRegion(tmp_path).config_file
    odd = sys.executable, odd_agent.__file__, "refused"
    with running(*odd, "--config-file", path) as agent:
        assert agent.wait(within(60)) == 1
        assert agent.stdout is not None
        said = agent.stdout.read()

    ended = "no process can be started, so all end: [Errno 11] Resource"
    assert ended in said
    assert "Traceback" not in said


def test_commands_name_what_no_driver_takes_too(tmp_path):
    path = SmallRegion(tmp_path).config_file
    path.write_text(path.read_text().replace("/ledger\n", "/ledger?uri=x\n"))

    status, check = (
        run(*command, "--config-file", str(path))
        for command in (("status",), ("config", "check", "-f", "value"))
    )

    said = "[ledger] connection: uri: String is not true/false: 'x'"
    assert status.code == 2
    assert status.stderr == f"ec2map-sync: {said}\n"
    assert check.code == 1
    assert f"wrong: {said}" in check.stdout


@pytest.mark.parametrize("content", [None, "region = x\n", "[DEFAULT\n"])
def test_the_agent_refuses_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "conf"
    if content is not None:
        path.write_text(content)

    refused = run_agent(path)

    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert str(path) in refused.stderr
