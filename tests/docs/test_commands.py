"""Every command that the pages or a help text show does its work.

They are run against two regions that are alive, one after the other, as an
operator would who reads all pages from the top. What the quick start shows
is run there (test_quick_start.py).
"""

import json
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from uuid import uuid4

import kombu
import pytest
from commands import run
from fake_glance import FakeGlance
from fleet import await_reading, pair, running
from patience import wait_until

from ec2map_sync.rules.ec2id import format_id

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.rst", *sorted((ROOT / "doc/source").glob("*.rst"))]
COMMANDS = {
    point.name.replace("_", " "): point
    for point in entry_points(group="ec2map_sync.cli")
}
BLOCK_LINE = re.compile(r"^ {3,}(ec2map-sync (?!-).*)$", re.MULTILINE)
LITERAL = re.compile(r"``(ec2map-sync\s+[^-`][^`]*)``")
EXAMPLE = re.compile(r"Example: (ec2map-sync .*)")
OLD = "OLD-PEER"

NOT_RUN = {
    "ec2map-sync status --watch 2": "does not end: test_terminal.py",
    "ec2map-sync demo --regions 4 --images 100": "test_demo.py",
}
EXPORT = "ec2map-sync ledger export /var/backups/ledger.jsonl"
REHEARSAL = "ec2map-sync rehearse /var/backups/one /var/backups/two"
PROOF = "ec2map-sync agreement prove UUID --at 1s -o /etc/proof"
MADE_BEFORE = {
    "ec2map-sync ledger import /var/backups/ledger.jsonl": EXPORT,
    "ec2map-sync ledger import /var/backups/ledger.jsonl --dry-run": EXPORT,
    "ec2map-sync agreement verify /etc/proof --key RegionOne=KEY": PROOF,
}
"""What a line reads, and by which it is made."""
# Not in order is an answer, too.
MAY_BE_1 = {"status", "config check"}


def shown():
    """Give every command line of the pages and help texts, once."""
    found = []
    for page in PAGES:
        if page.name == "quickstart.rst":
            continue
        text = page.read_text()
        lines = [*BLOCK_LINE.findall(text), *LITERAL.findall(text)]
        found += [" ".join(line.split()) for line in lines]
    for point in COMMANDS.values():
        found += EXAMPLE.findall(point.load().__doc__)
    return sorted(set(found), key=found.index)


def needs_arguments(line):
    """Tell whether a line only names a command that takes something."""
    name = line.removeprefix("ec2map-sync ")
    return (
        name in COMMANDS
        and run(*name.split(), "--kaputt").code == 2
        and ("required" in run(*name.split()).stderr)
    )


RUN = [line for line in shown() if line not in NOT_RUN]


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("pages")
    with FakeGlance() as glance:
        one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
        extra = f"\n[glance]\nendpoint_override = {glance.url}\n"
        one.configure(two, extra=extra)
        with running(one, two):
            await_reading(one, two)
            await_reading(two, one)
            image = glance.add().id
            for region in (one, two):
                region.await_images([image])
            yield one, two, image


def prepare(region, line, directory):
    """See that there is what a line is about, whatever was run before."""
    if "key generate" in line:
        for key in (directory / "ec2map-sync").iterdir():
            key.unlink()
    if "from-glance" in line:
        (directory / "glance").mkdir(exist_ok=True)
        (directory / "glance/glance-api.conf").write_text(
            f"[DEFAULT]\ntransport_url = {region.rabbit.transport_url()}\n"
            "[oslo_messaging_notifications]\ndriver = messagingv2\n"
        )
    if "template" in line:
        (directory / "heat").mkdir(exist_ok=True)
        number, _ = region.rows("cell1")[0]
        (directory / "heat/web.yaml").write_text(format_id(number))
    if "peer forget" in line:
        with kombu.Connection(region.bus_url) as connection:
            queue = kombu.Queue(f"ec2map_sync.{OLD}")
            queue(connection.default_channel).queue_declare()
    if "quarantine" in line:
        payload = {"id": str(uuid4()), "container_format": "bare"}
        body = {"event_type": "image.create", "payload": payload}
        region.sql("ledger", "DELETE FROM quarantine")
        for entry in (1, 17):
            region.sql(
                "ledger",
                "INSERT INTO quarantine (id, at, source, reason, body) "
                f"VALUES ({entry}, 1, 'glance', 'x', '{json.dumps(body)}')",
            )


@pytest.fixture(scope="module")
def operator(regions, tmp_path_factory):
    """Give what runs a line on RegionOne, with its names for the pages'."""
    one, two, image = regions
    directory = tmp_path_factory.mktemp("files")
    (directory / "ec2map-sync").mkdir()
    (number,) = [n for n, uuid in one.rows("cell1") if uuid == image]
    names = {
        "71ed3a2c-33a0-4d3c-9d4e-2f6c6f2b6c34": image,
        "ami-1f2e3d4c": format_id(number),
        "UUID": image,
        "RegionOne=KEY": f"RegionOne={one.public_key}",
        "RegionThree": OLD,
        "/etc/": f"{directory}/",
        "/var/backups/": f"{directory}/",
    }

    def act(line):
        if line.startswith(REHEARSAL):
            for region, name in ((one, "one"), (two, "two")):
                files = (directory / name, directory / f"{name}-cell1")
                named = "--config-file", str(region.config_file)
                sink = "sink", "export", "nova:cell1"
                run("ledger", "export", str(files[0]), *named)
                run(*sink, str(files[1]), *named)
        if line in MADE_BEFORE:
            act(MADE_BEFORE[line])
        for old, new in names.items():
            line = line.replace(old, new)
        line = re.sub(r"(?<![-\w])PEER\b", two.name, line)
        command, _, _file = line.partition(" >")
        prepare(one, line, directory)
        return run(
            *shlex.split(command)[1:], "--config-file", str(one.config_file)
        )

    def agrees():
        done = act("ec2map-sync peer list -f value -c state")
        return done.stdout == "agrees\n"

    wait_until(agrees, 30)
    return act


def test_the_pages_show_most_commands_and_every_help_has_an_example():
    text = "\n".join(shown())

    assert len(RUN) > 40
    for name in COMMANDS:
        assert f"ec2map-sync {name}" in text


def test_what_is_not_run_is_shown():
    assert NOT_RUN.keys() <= set(shown())


@pytest.mark.parametrize("line", RUN)
def test_a_command_that_is_shown_does_its_work(operator, line):
    words = line.split()[1:]
    two = " ".join(words[:2])
    name = two if two in COMMANDS else words[0]
    if words == name.split() and needs_arguments(line):
        return  # the page only names it

    done = operator(line)

    assert done.code in ({0, 1} if name in MAY_BE_1 else {0}), done
    assert "Traceback" not in done.stderr
