import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\w+)\n\n(?P<text>(?: {4}.*\n|\n)+)",
    re.MULTILINE,
)


@pytest.fixture(scope="session")
def read() -> Callable[[str], str]:
    """Give the text of a file of the tree."""
    return lambda name: (ROOT / name).read_text()


@pytest.fixture(scope="session")
def blocks(
    read: Callable[[str], str],
) -> Callable[[str], list[tuple[str, str]]]:
    """Give the literal blocks of a page: (language, text), in order."""
    return lambda name: [
        (found["language"], textwrap.dedent(found["text"]).strip() + "\n")
        for found in BLOCK.finditer(read(name))
    ]


@pytest.fixture(scope="session")
def root() -> Path:
    """Where the tree is."""
    return ROOT
