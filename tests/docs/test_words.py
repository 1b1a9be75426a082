"""One word for one thing: what the code calls a thing, the glossary has."""

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import ec2map_sync

PACKAGE = Path(ec2map_sync.__file__).parent
ARCHITECTURE = "doc/source/architecture.rst"
CLASS = re.compile(r"[A-Z][a-z]\w*")
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z0-9]*|[A-Z]+")

# English that says what it says everywhere; words of the trade; neighbours.
_ORDINARY = """
addressee agreed amqp answer answered api argument aside asker attempt bad
batch busy cannot channel class client clock command comparison consumer count
counter crowded delay derive difference eater ec2 echoes ending entry envelope
error examination exchange explanation exported fan fault fed finding fleet
foreseen from front gauge glance gone guard happening held help histogram http
interrupt item joining known late leaves line listen lister long lookout lookup
management many map mapped meaning mention misfit mismatch missing moving name
no note nova nudge numbered one operation outcome pace page parameter part
pause picture place plain position process program proof proposal public pulse
queries queue received recorded recorder refused rehearsal replacement reporter
retrial root route run sample says schema screen seen sentry server shared side
signature signing silent snapshot spread ssl stage state step story survey
taken tally terms text thread throttle time tls too trace transfer transport
tree unknown unmeasured verdict view virtual waiting wake watchdog worker wrong
"""
ORDINARY = set(_ORDINARY.split())

SAME = {
    "Cell": "the demo has one in memory, of which the settings have a URL",
    "Glance": "the demo plays what the settings speak of",
    "Image": "the demo's Glance has what the other one's API tells",
    "Region": "the demo has several in one process",
}
"""Classes that may have one name, and why."""

HIDDEN_TYPES = {
    # as threading.Event has it
    "running/loop.py: Nudge.set",
    "running/loop.py: Wake.set",
}
"""Methods that hide a type of Python's from the rest of their class."""


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Give every module as it is written, by its path in the package."""
    return tuple(
        (path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text()))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "migrations" not in path.parts
    )


def nodes(kind) -> Iterator[tuple[str, ast.AST]]:
    """Give the nodes of a kind, and the module of each."""
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield name, node


def classes() -> set[tuple[str, str]]:
    """Give the name of every public class, and where it is defined."""
    return {
        (node.name, module)
        for module, node in nodes(ast.ClassDef)
        if not node.name.startswith("_")
    }


def words() -> set[str]:
    """Give the words that the names of classes are built of."""
    return {w.lower() for name, _ in classes() for w in WORD.findall(name)}


def constants() -> set[tuple[str, str]]:
    """Give the names that modules define by assignment, and where."""
    return {
        (name, module)
        for module, tree in modules()
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for name in assigned(node)
    }


def assigned(node: ast.AST) -> set[str]:
    """Give the names that something assigns to, or takes as parameters."""
    return {
        part.arg if isinstance(part, ast.arg) else part.id
        for part in ast.walk(node)
        if isinstance(part, ast.arg)
        or (isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
    }


def several(defined: set[tuple[str, str]]) -> set[str]:
    """Give the names that are defined in more than one module."""
    count = Counter(name for name, _ in defined)
    return {name for name in count if count[name] > 1}


def glossary(page: str) -> set[str]:
    """Give the nouns of the glossary, and the services of the data flow."""
    _, _, rest = page.partition(".. glossary::\n")
    terms, _, flow = rest.partition("\nData flow\n")
    flow, _, _ = flow.partition("\nFour ideas\n")
    found = re.findall(r"^   (\S+)$", terms, re.MULTILINE)
    found += re.findall(r"^([A-Z][a-z]+)$", flow, re.MULTILINE)
    return {word.lower() for word in found}


def commands() -> set[str]:
    points = entry_points(group="ec2map_sync.cli")
    return {word for point in points for word in point.name.split("_")}


def singular(word: str) -> set[str]:
    """Give what a word may be the plural, or the participle, of."""
    return {word, word.removesuffix("s"), word.removesuffix("d")}


def explained(read) -> set[str]:
    return glossary(read(ARCHITECTURE)) | commands()


def imported(tree: ast.AST) -> set[str]:
    """Give the names by which a module knows what it imports."""
    return {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def functions(tree: ast.Module) -> set[str]:
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def local_names(tree: ast.Module) -> set[str]:
    """Give what functions call their parameters and variables."""
    found = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
    return set().union(*map(assigned, found))


def test_the_glossary_is_read(read):
    assert {"claim", "sink", "listener", "answerer"} <= glossary(
        read(ARCHITECTURE)
    )


def test_classes_are_called_by_words_that_are_explained(read):
    there = explained(read) | ORDINARY

    assert {w for w in words() if not singular(w) & there} == set()


def test_ordinary_words_are_used_and_not_explained(read):
    used = set().union(*map(singular, words()))

    assert ORDINARY - used == set()
    assert ORDINARY & explained(read) == set()


def test_no_two_classes_have_one_name():
    aliases = {(n, m) for n, m in constants() if CLASS.fullmatch(n)}

    assert several(classes() | aliases) == SAME.keys()


def test_constants_that_others_import_mean_one_thing():
    asked = {
        alias.name
        for _, node in nodes(ast.ImportFrom)
        if (node.module or "").startswith("ec2map_sync")
        for alias in node.names
        if alias.name.isupper()
    }

    assert several(constants()) & asked == set()


def test_no_local_name_hides_one_of_the_module():
    hidden = {
        f"{module}: {name}"
        for module, tree in modules()
        for name in local_names(tree) & (imported(tree) | functions(tree))
    }

    assert hidden == set()


def test_no_method_hides_a_type():
    types = {n for n, v in vars(builtins).items() if isinstance(v, type)}
    hidden = {
        f"{module}: {node.name}.{method.name}"
        for module, node in nodes(ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef)
        and method.name in types
        and not node.name.startswith("_")
    }

    assert hidden == HIDDEN_TYPES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ec2ApiSink", ["Ec2", "Api", "Sink"]),
        ("SSLTransport", ["SSL", "Transport"]),
        ("TooManyMoves", ["Too", "Many", "Moves"]),
    ],
)
def test_a_name_is_taken_apart(name, expected):
    assert WORD.findall(name) == expected
