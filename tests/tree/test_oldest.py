"""The oldest releases that setup.cfg allows can be installed to be tried."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_is_tried_is_what_is_allowed():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    allowed = setup["options"]["install_requires"].splitlines()
    allowed += setup["options.extras_require"]["test"].splitlines()
    bounds = {line.replace(">=", "==") for line in allowed if ">=" in line}

    tried = (ROOT / "tests/oldest.txt").read_text().splitlines()
    assert {line for line in tried if not line.startswith("#")} == bounds
