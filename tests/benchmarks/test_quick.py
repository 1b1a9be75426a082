"""The benchmark works: every line of it is measured. No times are judged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from patience import within

pytestmark = pytest.mark.services

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "run.py"

LINES = {
    "ingest",
    "ingest two",
    "cpu",
    "published",
    "apply",
    "delay own",
    "delay own p95",
    "delay own p99",
    "delay peer's",
    "delay peer's p95",
    "delay peer's p99",
    "batch",
    "batch limit",
    "statements",
    "heartbeat",
    "range print",
    "note",
    "next note",
    "verify",
    "compare hour",
    "compare all time",
    "take-over",
    "memory",
}


@pytest.mark.timeout(900)
def test_the_quick_benchmark_measures_every_line(tmp_path):
    output = tmp_path / "run.json"

    done = subprocess.run(
        [sys.executable, BENCHMARK, "--quick", "--output", output],
        check=False,
        capture_output=True,
        text=True,
        timeout=within(880),
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    run = json.loads(output.read_text())
    lines = {line["key"]: line for line in run["lines"]}
    assert lines.keys() == LINES
    for key, line in lines.items():
        assert line["ours"], key
        assert all(value > 0 for value in line["ours"]), key
        assert line["what"] in done.stdout
    # A count, and no time: what a batch costs does not grow with the images.
    assert lines["statements"]["ratios"] == {"beside 1,000": 1}
