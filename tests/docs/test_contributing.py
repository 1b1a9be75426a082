"""The contributor's page shows the package as it is."""

import re
import tomllib

PAGE = "CONTRIBUTING.md"


def between(text: str, name: str) -> list[str]:
    """Give the lines of a page that stand between two of its comments."""
    _, _, rest = text.partition(f"<!-- {name} -->\n")
    found, end, _ = rest.partition(f"<!-- end of {name} -->\n")
    assert end
    return [line.strip() for line in found.splitlines()]


def rungs(read) -> list[str]:
    """Give the rungs of the contract, the uppermost first."""
    settings = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]
    (contract,) = (c for c in settings["contracts"] if c["type"] == "layers")
    # In brackets stands what may be missing.
    return [re.sub(r"[()]", "", rung) for rung in contract["layers"]]


def test_the_rungs_are_those_of_the_contract(read):
    assert between(read(PAGE), "rungs") == rungs(read)


def test_the_architecture_shows_the_same_rungs(read):
    page = read("doc/source/architecture.rst")

    assert ":start-after: <!-- rungs -->" in page
    assert ":end-before: <!-- end of rungs -->" in page
