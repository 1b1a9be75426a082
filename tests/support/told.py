"""What the page on deployment tells an operator of a tool to set."""

import re
import textwrap
from pathlib import Path

PAGE = Path(__file__).parents[2] / "doc/source/deployment.rst"
BLOCK = re.compile(r"^\.\. code-block:: \w+\n\n((?: {4}.*\n|\n)+)", re.M)


def told(title: str) -> str:
    """Give the first block of a section."""
    _, _, section = PAGE.read_text().partition(f"\n{title}\n===")
    found = BLOCK.search(section)
    assert found, title
    return textwrap.dedent(found[1]).strip() + "\n"
