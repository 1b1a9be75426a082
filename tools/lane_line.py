"""Prints a line of the table of lanes; run by the Python of the lane.

python tools/lane_line.py NAME REPORT
"""

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

LIBRARIES = ("SQLAlchemy", "oslo.messaging", "kombu")


def main(name: str, report: str) -> None:
    """Print what ran, and with what; the report is JUnit's."""
    releases = [f"{library} {version(library)}" for library in LIBRARIES]
    said = ", ".join([f"Python {platform.python_version()}", *releases])
    print(f"{name:8} {said}: {outcome(Path(report))}")


def outcome(report: Path) -> str:
    """Say how many tests have passed, and how many have not."""
    if not report.exists():
        return "no test was run"
    suite = ET.parse(report).find("testsuite")  # noqa: S314, pytest's own
    assert suite is not None
    count = {k: int(suite.attrib[k]) for k in ("tests", "failures", "errors")}
    failed = count["failures"] + count["errors"]
    return f"{count['tests'] - failed} passed, {failed} failed"


if __name__ == "__main__":
    main(*sys.argv[1:])
