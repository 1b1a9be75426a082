"""Every warning of the package says what to do, or that nothing is."""

import ast
import re
from importlib.metadata import entry_points
from pathlib import Path

import ec2map_sync
from ec2map_sync.settings.options import list_opts

PACKAGE = Path(ec2map_sync.__file__).parent
LEVELS = {"warning", "error", "critical", "exception"}
COMMANDS = {
    point.name.replace("_", " ")
    for point in entry_points(group="ec2map_sync.cli")
}
OPTIONS = {
    f"[{group or 'DEFAULT'}] {option.dest}"
    for group, options in list_opts()
    for option in options
}

# What is said in an argument says where to look.
SAID_BY_AN_ARGUMENT = {
    "nothing is counted: %s: %s": "the place that cannot be written",
    "%s counts nothing: %s": "the error, with the file",
    "%s; a ledger that is restored goes unnoticed": "[DEFAULT] state_path",
    "look-ups wait and are tried again: %s": "the database, and its option",
    "%s waits and tries again: %s": "what was raised: a server, an option",
    "no token can be verified, see [keystone_authtoken]: %s": (
        "what Keystone's library lacks, and whose options these are"
    ),
    "the listener is started anew: %s": "an option, and the file it is in",
    "%s: %s (sender, wrong)": "whose clock it is",
    "no process can be started, so all end: %s": (
        "what the machine refuses: memory, a disk; or a mistake of ours"
    ),
    "%s has passwords, and everybody on this machine may read it: 'chmod "
    "o-rwx %s', and change them if somebody may have": "the command is there",
    "%s (line)": "the cell that cannot be used, and its option",
    "%s (_said(amiss[key]))": "the line that status shows",
}
NOTHING_TO_DO = {
    "the ledger is at revision %d, and was at %d: it was restored; every "
    "sink is gone through again": "that is all that has to be done",
    "%d images of Glance have ids that are no UUIDs, or that are kept for "
    "canaries, for example %s; they get no EC2 id": (
        "no other id can be given to them"
    ),
    "notifications are given back, to come again": "a mistake of ours",
    "%s failed, and tries again": "a mistake of ours, with its place",
    "no answer for %s": "a mistake of ours; the next question may go well",
    "text ()": "the listener that got nothing is started anew",
    "image %s has moved from %s to %s, because of the claim of %s": (
        "the rule has decided"
    ),
    "%s: %d rows of others have given way to what is settled; Nova "
    "may remember old ids for up to a week": "it was asked for",
    "systemd's watchdog is not told: %s": "systemd starts the agent anew",
    "py-amqp %s, kombu %s and oslo.messaging %s are used as they are, since "
    "we do not know: %s": "it tells what that costs; a newer release may know",
}


def warnings():
    """Give what each warning says, and where; arguments if it is no text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="LOG"), attr=level),
                    args=[said, *arguments],
                ) if level in LEVELS:
                    yield _text(said, arguments), f"{path.name}:{node.lineno}"


def _text(said, arguments):
    text = said.value if isinstance(said, ast.Constant) else ast.unparse(said)
    if re.search(r"[a-z]{2}", text) and isinstance(said, ast.Constant):
        return text
    names = ", ".join(ast.unparse(one).split(".")[-1] for one in arguments)
    return f"{text} ({names})"


def advice(text):
    """Give the commands and the options that a text names."""
    commands = re.findall(r"'ec2map-sync ([a-z ]+?)(?: --[a-z-]+)?'", text)
    return commands, re.findall(r"\[\w+\] \w+", text)


def test_every_warning_says_what_to_do_or_is_known_not_to():
    found = list(warnings())
    known = SAID_BY_AN_ARGUMENT | NOTHING_TO_DO

    silent = [
        (text, where)
        for text, where in found
        if not any(advice(text)) and text not in known
    ]

    assert len(found) > 20
    assert silent == []


def test_what_a_warning_advises_is_there():
    advised = [advice(text) for text, _ in warnings()]
    commands = {one for named, _ in advised for one in named}
    options = {one for _, named in advised for one in named}

    assert {"list", "quarantine list"} <= commands <= COMMANDS
    assert options
    assert options <= OPTIONS


def test_every_exception_is_one_of_a_warning_that_is_still_there():
    texts = {text for text, _ in warnings()}

    assert SAID_BY_AN_ARGUMENT.keys() <= texts
    assert NOTHING_TO_DO.keys() <= texts
