"""What the agent does with a configuration that it cannot use."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import SmallRegion
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


@pytest.mark.parametrize("content", [None, "region = x\n", "[DEFAULT\n"])
def test_the_agent_refuses_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "conf"
    if content is not None:
        path.write_text(content)

    refused = run_agent(path)

    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert str(path) in refused.stderr
