"""Counting in several processes, of which any may be killed."""

import signal
import subprocess
import sys

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from scraping import Scrape

DIE = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )


def count(directory, process, code):
    """Let a process count, and die at once."""
    done = python(
        "import pathlib, time\nfrom ec2map_sync.running import counters\n"
        f"counters.start(pathlib.Path({str(directory)!r}), {process!r})\n"
        f"{code}\n{DIE}"
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def counted(directory):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))
    return Scrape(generate_latest(registry).decode())


def test_a_successor_goes_on_where_a_killed_process_was(tmp_path):
    count(tmp_path, "listener-0", "counters.CLAIMS.add(3, 'peers')")
    count(tmp_path, "listener-1", "counters.CLAIMS.add(5, 'peers')")
    files = sorted(tmp_path.iterdir())

    count(tmp_path, "listener-0", "counters.CLAIMS.add(4, 'peers')")

    scrape = counted(tmp_path)
    assert scrape.one("claims_recorded_total", origin="peers") == 12
    assert scrape.one("claims_recorded_total", origin="audit") == 0
    assert sorted(tmp_path.iterdir()) == files


def test_a_clock_that_is_ahead_counts_as_no_delay(tmp_path):
    count(
        tmp_path,
        "follower-0",
        "now = 1_800_000_000_000_000\n"
        "time.time = lambda: now / 1_000_000\n"
        "counters.PEER_DELAY.since(now + 3_600_000_000, 'B')\n"
        "counters.PEER_DELAY.since(now - 7_000_000, 'B')",
    )

    scrape = counted(tmp_path)
    name = "peer_claim_to_ledger_seconds"
    assert scrape.one(f"{name}_bucket", le="0.001") == 1
    assert scrape.one(f"{name}_bucket", le="5.0") == 1
    assert scrape.one(f"{name}_bucket", le="10.0") == 2
    assert scrape.one(f"{name}_sum") == 7


def test_commands_pay_nothing_for_metrics():
    done = python(
        "import sys\nimport ec2map_sync.ledger, ec2map_sync.sinks.writer\n"
        "from ec2map_sync.running import counters\n"
        "counters.CLAIMS.add(3, 'peers')\ncounters.BATCH_SIZE.observe(1)\n"
        "print('prometheus_client' in sys.modules)"
    )

    assert done.stdout == "False\n", done.stderr
