"""No password or key is told: in no log, output or table, at any level."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from commands import run
from fake_glance import FakeGlance
from fleet import await_reading, pair, running
from frozen import dump
from patience import wait_until
from scraping import Exporter
from servers import free_port

from ec2map_sync.sql.database import create_engine, parse_url

pytestmark = pytest.mark.services

# Each in one place only, and with what a URL has to quote.
RIGHT = {
    what: f"right:{what}@{n}$" for n, what in enumerate(("broker", "database"))
}
WRONG = {what: f"wrong:{what}@{n}$" for n, what in enumerate(RIGHT)}
HASH_KEY = "hash-key-that-nobody-sees"
GLANCE = "glance-password"
COMMANDS = (
    "status",
    "verify",
    "config check",
    "replay",
    "replay --push",
    "peer list",
    "peer forget RegionNine",
    "list",
    "adopt --dry-run",
    "backfill --dry-run",
    "quarantine list",
    "divergence list",
    "db version",
    "db upgrade",
)


def with_passwords(text, passwords):
    """Give every URL of a configuration a user and a password."""
    broker, database = (
        quote(passwords[what], safe="").replace("$", "$$")
        for what in ("broker", "database")
    )
    text = re.sub(
        r"(amqp|rabbit)://[^@/]+@",
        lambda found: f"{found[1]}://secretive:{broker}@",
        text,
    )
    return text.replace("//root@", f"//secretive:{database}@")


@pytest.fixture(scope="module")
def exporters():
    return []


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory, exporters):
    directory = tmp_path_factory.mktemp("secrets")
    for rabbit in (rabbit_a, rabbit_b):
        rabbit.ctl("add_user", "secretive", RIGHT["broker"])
    mariadb.execute(
        "GRANT ALL ON *.* TO secretive@'%' "
        f"IDENTIFIED BY '{RIGHT['database']}'"
    )
    with FakeGlance() as glance:
        one, two = pair(rabbit_a, rabbit_b, mariadb, directory)
        for region in (one, two):
            region.rabbit.ctl(
                *("set_permissions", "-p", region.vhost, "secretive"),
                *[".*"] * 3,
            )
            text = with_passwords(region.config_file.read_text(), RIGHT)
            text = text.replace("hash_key = tests", f"hash_key = {HASH_KEY}")
            text = text.replace("[bus]\n", "[bus]\nclaim_wait = 1\n")
            exporters.append(Exporter(free_port()))
            text += exporters[-1].option
            region.config_file.write_text(
                text.replace("[DEFAULT]\n", "[DEFAULT]\ndebug = true\n")
                + f"[glance]\nauth_type = password\nauth_url = {glance.url}\n"
                f"username = u\npassword = {GLANCE}\nproject_name = p\n"
                "user_domain_id = d\nproject_domain_id = d\n"
                "poll_interval = 0.5\n"
            )
        yield one, two


def secrets(*regions):
    """Give every spelling of everything that nobody may see."""
    found = {HASH_KEY, GLANCE}
    for password in (*RIGHT.values(), *WRONG.values()):
        found |= {password, quote(password, safe=""), quote(password)}
    for region in regions:
        key = (region.directory / f"{region.name}.key").read_text()
        found.add(key.splitlines()[1])
    return found


def told(region):
    """Give what is in a region's log, and in its ledger."""
    engine = create_engine(parse_url(region.ledger, "ledger"))
    with engine.connect() as connection:
        rows = dump(connection)
    engine.dispose()
    return region.log() + str(rows)


def outputs(config_file):
    """Give what every command says, as loudly as it can."""
    done = [
        run(
            "--debug",
            *["-v"] * 3,
            *command.split(),
            "--config-file",
            str(config_file),
        )
        for command in COMMANDS
    ]
    assert all(one.stdout or one.stderr for one in done)
    return "".join(one.stdout + one.stderr for one in done)


def processes(region):
    """Give what everybody on the machine may see of an agent."""
    for pid in (region.agent.pid, *region.processes()):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)
        yield Path(f"/proc/{pid}/cmdline").read_text()
        yield Path(f"/proc/{pid}/environ").read_text()


def find(text, regions):
    return sorted(secret for secret in secrets(*regions) if secret in text)


def test_what_works_tells_no_secret(regions, exporters):
    one, two = regions
    with running(one, two):
        await_reading(one, two)
        await_reading(two, one)
        images = one.glance.create(5)
        for region in regions:
            region.await_images(images)
        one.await_log("auditor waits")

        said = outputs(one.config_file)
        seen = [*processes(one), *processes(two)]
        seen += [exporter.scrape().text for exporter in exporters]

    text = said + told(one) + told(two) + "".join(seen)
    assert "DEBUG" in text
    assert "ec2map_sync_claims" in text
    for region in regions:
        path = region.config_file
        assert f"chmod o-rwx {path}" in region.log()
    assert f"chmod o-rwx {one.config_file}" in said
    assert find(text, regions) == []


def test_what_is_refused_tells_no_secret(regions, monkeypatch):
    """With wrong passwords for everything but the ledger, and then for it."""
    monkeypatch.setattr("ec2map_sync.peers.asking.DEADLINE", 1.0)
    one, _ = regions
    right = one.config_file.read_text()
    ledger = re.search(r"^\[ledger\]\nconnection = .*$", right, re.MULTILINE)
    assert ledger
    wrong = right
    for what in RIGHT:
        old, new = (
            quote(kind[what], safe="").replace("$", "$$")
            for kind in (RIGHT, WRONG)
        )
        assert old in wrong
        wrong = wrong.replace(old, new)
    nothing = Path(f"{one.config_file}.wrong")
    nothing.write_text(wrong)
    one.config_file.write_text(
        re.sub(
            r"^\[ledger\]\nconnection = .*$",
            lambda _found: ledger[0],
            wrong,
            flags=re.MULTILINE,
        )
    )
    since = len(one.log())
    with running(one):
        for name in ("writer of nova:cell1", "publisher", "listener"):
            one.await_log(f"{name} waits and tries again", since=since)
        wait_until(lambda: "Access denied" in one.log(since), 30)

        said = outputs(one.config_file) + outputs(nothing)

    assert "ACCESS_REFUSED" in one.log(since)
    assert "Access denied" in said
    assert find(said + told(one), regions) == []
