"""Every warning of the package says what to do, or that nothing is."""

import ast
from pathlib import Path

import ec2map_sync

PACKAGE = Path(ec2map_sync.__file__).parent
LEVELS = {"warning", "error", "critical", "exception"}
HINTS = (
    "ec2map-sync ",  # a command that shows more
    "again",  # it is tried, or gone through
    "anew",
    "%s",  # at the beginning: what was raised, which says it
)
NOTHING_TO_DO = {
    "%d images of Glance have ids that are no UUIDs, for example %s; they "
    "get no EC2 id",
    "nothing is counted: %s: %s",  # the error names what is missing
    "no answer for %s",  # to a question for metrics, with the traceback
    "kombu %s and oslo.messaging %s are used as they are, which is slower: "
    "we do not know %s",
    "image %s has moved from %s to %s, because of the claim of %s",
}


def warnings():
    """Give the texts of all warnings: where, and what."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="LOG"), attr=level),
                    args=[ast.Constant(value=str(text)), *_],
                ) if level in LEVELS:
                    yield f"{path.name}:{node.lineno}", text


def says_what_to_do(text):
    return text in NOTHING_TO_DO or any(
        text.startswith(hint) if hint == "%s" else hint in text
        for hint in HINTS
    )


def test_every_warning_says_what_to_do():
    found = list(warnings())

    assert len(found) > 8
    assert [one for one in found if not says_what_to_do(one[1])] == []
