"""What commands show while they run, on a terminal and beside it."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import SmallRegion
from patience import within
from small_cell import image

from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.stamps import wall_clock

PROGRAM = Path(sys.executable).parent / "ec2map-sync"
NO_AGENT = 1
"""What status ends with where no agent has run."""


@pytest.fixture
def region(tmp_path):
    """Twenty images, all in the cell."""
    region = SmallRegion(tmp_path)
    region.ledger.record(
        [Claim(claimed_at=wall_clock(), image=image(n)) for n in range(20)]
    )
    region.write_sinks()
    return region


def test_watch_prints_again_until_interrupted(region):
    with subprocess.Popen(
        [
            PROGRAM,
            *("status", "--watch", "0.2", "-f", "value", "-c", "what"),
            *("--config-file", region.config_file),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout
        seen = 0
        while seen < 3:
            line = watching.stdout.readline()
            assert line, watching.communicate()
            seen += line == "ledger\n"
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=within(20))

    assert watching.returncode == NO_AGENT
    assert said == ""


def test_watch_redraws_on_a_terminal(region):
    screen, end = pty.openpty()
    with subprocess.Popen(
        [
            PROGRAM,
            *("status", "--watch", "0.2"),
            *("--config-file", region.config_file),
        ],
        stdout=end,
        stderr=end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as watching:
        os.close(end)
        shown = b""
        deadline = time.monotonic() + within(30)
        while shown.count(b"nova:cell1") < 3 and time.monotonic() < deadline:
            shown += os.read(screen, 65536)
        watching.send_signal(signal.SIGINT)
        watching.wait(within(20))
    os.close(screen)

    assert watching.returncode == NO_AGENT
    assert shown.count(b"nova:cell1") >= 3
    assert b"Traceback" not in shown


def test_progress_is_shown_on_a_terminal_and_beside_the_output(region):
    screen, end = pty.openpty()
    done = subprocess.run(
        [
            PROGRAM,
            *("replay", "--sink", "nova:cell1", "-f", "json"),
            *("--config-file", region.config_file),
        ],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm"},
        timeout=within(60),
        check=True,
    )
    os.close(end)
    shown = os.read(screen, 65536)
    os.close(screen)

    assert json.loads(done.stdout)[0]["examined"] == 20
    assert b"nova:cell1" in shown
    assert b"20/20" in shown
