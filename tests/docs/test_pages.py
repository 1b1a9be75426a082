"""What the pages say is what the package does."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ec2map_sync.protocol import messages, wire
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.rules.ec2id import Kind, Scheme, format_id
from ec2map_sync.rules.sketches import Shape
from ec2map_sync.settings.options import list_opts

IDS = "doc/source/ids.rst"
PROTOCOL = "doc/source/protocol.rst"
GUARANTEES = "doc/source/guarantees.rst"
THREATS = "doc/source/threats.rst"
TESTS = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).parent / "ec2map-sync"


def rows(text: str, title: str) -> list[list[str]]:
    """Give the cells of the first list-table after a title."""
    table = text.split(f"\n{title}\n", 1)[1].split(":header-rows: 1\n", 1)[1]
    lines = table.strip("\n").splitlines()
    found: list[list[str]] = []
    for line in map(str.strip, lines):
        if line.startswith("* - "):
            found.append([])
        elif not line.startswith("- "):
            break
        cell = line.removeprefix("* ").removeprefix("- ").strip("`")
        found[-1].append("" if cell == "(empty)" else cell)
    return found[1:]


@pytest.fixture
def number(blocks):
    """The function of the page, which needs nothing but Python."""
    (snippet,) = (text for lang, text in blocks(IDS) if lang == "python")
    assert "ec2map_sync" not in snippet
    names: dict[str, object] = {}
    exec(snippet, names)
    return names["number"]


def test_the_vectors_of_ids_are_what_the_package_derives(read, number):
    vectors = rows(read(IDS), "Vectors")

    assert len(vectors) >= 5
    for uuid, key, attempt, expected, ec2_id in vectors:
        probe = Scheme(key.encode()).probe(uuid, int(attempt))
        assert probe == number(uuid, key, int(attempt)) == int(expected)
        assert format_id(probe, Kind(ec2_id[:3])) == ec2_id


def test_the_fingerprints_are_the_package_s(read):
    fingerprints = rows(read(IDS), "Fingerprint of a scheme")

    assert fingerprints
    for key, fingerprint in fingerprints:
        assert Scheme(key.encode()).fingerprint == fingerprint


def named(name, blocks):
    """Give a function that stands on the page of the protocol."""
    names: dict[str, object] = {}
    for language, block in blocks(PROTOCOL):
        if language == "python":
            exec(block, names)
    return names[name]


def test_a_hash_falls_into_buckets_as_the_page_says(blocks):
    shape = Shape.draw(100)
    square = named("square", blocks)

    for hash_ in (0, 1, 2**31, 327540463227, 2**40 - 1):
        for table in range(3):
            found = square(shape.keys, table, hash_)
            assert found == shape.square(table, hash_)


def test_the_example_message_is_as_the_package_writes_it(read, blocks):
    page = dict(blocks(PROTOCOL))
    headers, body = json.loads(page["json"]), page["text"].strip().encode()
    data = named("signed", blocks)(headers, body)
    public = re.search(r"ed25519:\S+=", read(PROTOCOL))[0]
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))

    assert key.public == public
    signature = base64.b64decode(headers["signature"])
    assert PublicKey(public).verifies(signature, data)
    trust = wire.Trust(
        sender=headers["sender"],
        keys=(PublicKey(public),),
        scheme=Scheme(b"example").fingerprint,
    )
    received = wire.decode(
        headers, body, {trust.sender: trust}, headers["sent_at"]
    )
    pen = wire.Pen(
        region=trust.sender,
        scheme=trust.scheme,
        key=key,
        clock=lambda: headers["sent_at"],
    )
    assert wire.encode(received.message, pen) == (headers, body)
    (claim,) = received.message.claims
    assert f"``{claim.hash}``" in read(PROTOCOL)


@pytest.mark.parametrize("kind", sorted(messages.FROM_JSON))
def test_every_type_of_message_is_described(read, kind):
    assert f"\n``{kind}``, key ``{kind}" in read(PROTOCOL)


def options() -> list[tuple[str, str]]:
    return [
        (str(group or "DEFAULT"), option.dest)
        for group, options in list_opts()
        for option in options
    ]


@pytest.mark.parametrize(("group", "option"), options())
def test_every_option_is_in_the_sample(read, group, option):
    sample = read("etc/ec2map-sync/ec2map-sync.conf.sample")
    sections = {
        text.partition("]")[0].lower(): text
        for text in re.split(r"^\[", sample, flags=re.MULTILINE)[1:]
    }

    section = sections[group.lower()]
    assert re.search(rf"^#{option} =", section, re.MULTILINE)


def test_every_command_of_the_pages_exists(read):
    pages = read("README.rst") + "".join(
        read(str(page))
        for page in (TESTS.parent / "doc" / "source").glob("*.rst")
    )
    known = subprocess.run(
        [PROGRAM, "--help"], capture_output=True, text=True, check=True
    ).stdout.split("\nCommands:\n")[1]
    commands = {line[2:].split("  ")[0] for line in known.splitlines()}
    called = {
        " ".join(name.split())  # it may go on in the next line
        for name in re.findall(
            r"(?:``|^ {4,})ec2map-sync\s([a-z]+(?:\s+[a-z][a-z-]*)?)",
            pages,
            re.M,
        )
    }

    assert {"db upgrade", "key generate", "id"} <= called
    assert called <= commands


def test_each_of_the_eight_guarantees_names_tests(read):
    page = read(GUARANTEES)

    parts = re.split(r"^   \* - (\d+)\n", page, flags=re.MULTILINE)[1:]
    assert parts[::2] == [str(n) for n in range(1, 9)]
    for number, text in zip(parts[::2], parts[1::2], strict=True):
        named = re.findall(r"``(test_\w+)``", text)
        assert len(named) >= 2, number


@pytest.mark.parametrize("page", [GUARANTEES, THREATS])
def test_every_test_that_a_page_names_exists(read, page):
    there = "".join(page.read_text() for page in TESTS.rglob("test_*.py"))

    named = re.findall(r"``(test_\w+)``", read(page))

    assert named
    assert [name for name in named if f"def {name}(" not in there] == []


def test_every_file_that_the_readme_links_to_exists(read):
    links = re.findall(r"<([\w/.-]+)>`_", read("README.rst"))
    tools = re.findall(r"^ {4}(tools/\w+)", read("README.rst"), re.M)

    assert "doc/source/ids.rst" in links
    for link in links:
        assert read(link)
    assert tools
    for command in tools:
        assert read(command).startswith("#!")
