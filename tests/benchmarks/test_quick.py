"""The benchmark works: every line of it is measured. No times are judged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from patience import within

pytestmark = pytest.mark.services

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "run.py"

PARTS = {
    "batch": {"batch", "batch limit", "statements"},
    "growth": {
        f"growth {kind} {server}"
        for kind in ("own", "peers")
        for server in ("MariaDB", "PostgreSQL")
    },
    "shares": {
        f"share {whose} {pool}"
        for whose in (
            "ledger",
            "cell",
            "claims, look",
            "numbers, look",
            "claims",
            "own claims",
            "numbers",
            "commit of the ledger",
            "rows of the cell",
            "commit of the cell",
            "cell with an index on uuid",
            "commit of that",
        )
        for pool in ("128M", "1G")
    },
    "notes": {"note", "next note"},
    "verify": {"verify"},
    "ingest": {"ingest", "ingest two", "cpu", "published"},
    "apply": {"apply"},
    "latency": {"delay cpu"}
    | {
        f"delay {whose}{share}"
        for whose in ("own", "peer's")
        for share in ("", " p95", " p99")
    },
    "prints": {"heartbeat", "range print"},
    "compare": {"compare hour", "compare all time"},
    "take-over": {"take-over", "take-over delay", "memory"},
    "questions": {"questions.rate", "questions.p99", "questions.cpu"},
}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_quick_benchmark_measures_every_line(tmp_path):
    output = tmp_path / "run.json"
    parts = [word for part in PARTS for word in ("--only", part)]

    done = subprocess.run(
        [sys.executable, BENCHMARK, "--quick", "--output", output, *parts],
        check=False,
        capture_output=True,
        text=True,
        timeout=within(880),
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    run = json.loads(output.read_text())
    lines = {line["key"]: line for line in run["lines"]}
    assert lines.keys() == set().union(*PARTS.values())
    for key, line in lines.items():
        assert line["ours"], key
        assert all(value > 0 for value in line["ours"]), key
        assert line["what"] in done.stdout
    # A count, and no time: what a batch costs does not grow with the images.
    assert lines["statements"]["ratios"] == {"beside 1,000": 1}
