"""The contributor's page shows the package as it is."""

import importlib
import pkgutil
import re
import tomllib

import pytest

import ec2map_sync

PAGE = "CONTRIBUTING.md"
NAME = re.compile(r"`([a-z]\w*(?:\.\w+)+)`")
PATH = re.compile(r"`((?:doc|ec2map_sync|etc|tests|tools)/[\w./-]*)`")
ITEM = re.compile(r"^- `(\w+)`: (.*)$")


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
    return list(contract["layers"])


def described() -> dict[str, str]:
    """Give what each part of the package says of itself in its first line."""
    names = [m.name for m in pkgutil.iter_modules(ec2map_sync.__path__)]
    parts = {n: importlib.import_module(f"ec2map_sync.{n}") for n in names}
    return {n: p.__doc__.partition("\n")[0] for n, p in parts.items()}


def is_there(name: str) -> bool:
    """Tell whether a dotted name means something inside the package."""
    try:
        pkgutil.resolve_name(f"ec2map_sync.{name}")
    except (ImportError, AttributeError):
        return False
    return True


def walks(read) -> list[str]:
    return sorted(set(NAME.findall(" ".join(between(read(PAGE), "walks")))))


def test_the_rungs_are_those_of_the_contract(read):
    assert between(read(PAGE), "rungs") == rungs(read)


@pytest.mark.parametrize("name", ["rungs", "map", "walks"])
def test_the_architecture_shows_the_same(read, name):
    page = read("doc/source/architecture.rst")

    assert f":start-after: <!-- {name} -->" in page
    assert f":end-before: <!-- end of {name} -->" in page


def test_the_map_has_what_each_package_says_of_itself(read):
    lines = "\n".join(between(read(PAGE), "map"))
    items = lines.replace("\n", " ").replace(" - `", "\n- `").splitlines()

    assert dict(ITEM.match(item).groups() for item in items) == described()


def test_the_walks_name_what_there_is(read):
    names = walks(read)

    assert len(names) > 30
    assert [name for name in names if not is_there(name)] == []


@pytest.mark.parametrize("name", ["glance.nothing", "rules.claims.join.no"])
def test_what_there_is_not_is_found_missing(name):
    assert not is_there(name)


def test_the_files_that_it_names_are_there(read, root):
    names = PATH.findall(read(PAGE))

    assert "ec2map_sync/settings/options.py" in names
    assert [name for name in names if not (root / name).exists()] == []
