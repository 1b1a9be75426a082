"""What the agent does with a configuration that it cannot use."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import SmallRegion, run
from patience import within

AGENT = Path(sys.executable).parent / "ec2map-sync-agent"


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
