"""The plugin goes through devstack's phases, with real servers and agent."""

from patience import wait_until
import base64
import re
import stat
import json
import subprocess
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from fake_keystone import TOKENS, FakeKeystone, serving
from servers import free_port
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ec2map_sync.settings.loading import load
from ec2map_sync.rules.ec2id import DERIVED, ON_DEMAND, Kind, format_id

pytestmark = pytest.mark.services

PLUGIN = Path(__file__).parent.parent.parent / "devstack"


@pytest.fixture(scope="module")
def host(make_devstack):
    host = make_devstack(EC2MAP_SYNC_API_PORT=str(free_port()))
    keystone = FakeKeystone()
    keystone.endpoints = {"RegionOne": host.glance.url}
    with serving(keystone, host.keystone_port) as keystone.address:
        host.go("stack")
        yield host


def await_everywhere(host, image, seconds=30):
    wait_until(lambda: all(image in host.rows(c) for c in host.cells), seconds)


def loaded(host):
    conf = load([], files=[str(host.conf)])
    conf.check()
    return conf


def topics(host):
    found = re.findall(r"^topics = (.*)$", host.glance_conf.read_text(), re.M)
    return found[0] if len(found) == 1 else found or None


def leftovers(host):
    """What a host has of ours: files, and names on its servers."""
    ours = re.compile(r"^(ec2map|RegionO|one_|two_)")
    paths = [p for name in ("etc", "data", "links") for p in host.directory.rglob(name)]
    return [
        *(p for path in paths for p in path.rglob("*")),
        *(q for q in host.queues() if ours.search(q)),
        *(v for v in host.vhosts() if ours.search(v)),
        *(u for u in host.users() if ours.search(u)),
        *({host.settings.get("EC2MAP_SYNC_DATABASE", "ec2map_sync")})
        & host.databases(),
        *host.agent(),
    ]


def test_images_of_stack_sh_are_in_every_cell(host):
    images = host.images()

    assert len(images) == 1
    for cell in host.cells:
        rows = host.rows(cell)
        assert set(rows) == images
        assert all(number in DERIVED for number in rows.values())
        (image,) = images
        shown = f"image {image} is {format_id(rows[image], Kind.AMI)}"
        assert shown in host.output


def test_the_configuration_can_be_loaded_and_is_not_for_everybody(host):
    conf = loaded(host)

    assert conf.region == "RegionOne"
    assert [cell.name for cell in conf.cells] == host.cells
    assert conf.bus.broker.urls.endswith("/ec2map_sync")
    assert conf.conf.ec2_ids.hash_key == "hash$Secret"
    assert stat.S_IMODE(host.conf.stat().st_mode) == 0o640
    assert stat.S_IMODE(host.state.stat().st_mode) == 0o750
    key = host.etc / "signing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert f"Public key of RegionOne: {conf.bus.key.public}" in host.output


def test_the_commands_are_linked_to_where_everybody_finds_them(host):
    link = host.directory / "links" / "ec2map-sync"

    done = host.run(link, "--version")

    assert done.returncode == 0
    assert done.stdout.startswith("ec2map-sync ")


def test_what_is_not_started_yet_is_one_line(host):
    said = [line for line in host.output.splitlines() if "API" in line]

    assert said == ["ec2map-sync: Glance's API is not started yet"]


def test_glance_has_our_topic_beside_the_others(host):
    assert topics(host) == "notifications,ec2map_sync"


def test_a_notification_arrives_in_every_cell(host):
    image = host.create_image()

    await_everywhere(host, image)
    assert len({host.rows(cell)[image] for cell in host.cells}) == 1


def ask(url, **headers):
    """Ask the API; the status, and what it answers."""
    try:
        with urlopen(Request(url, headers=headers)) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def test_the_catalogue_leads_to_look_ups_for_whom_keystone_knows(host):
    place = host.directory / "endpoint_of_ec2-mapping_in_RegionOne"
    url = place.read_text().strip()
    image = host.create_image()
    await_everywhere(host, image)

    refused, _ = ask(f"{url}/v1/images/{image}")
    token = {"X-Auth-Token": TOKENS["admin"]}
    status, found = ask(f"{url}/v1/images/{image}", **token)

    assert (refused, status) == (401, 200), found
    assert found["image"] == image
    assert found["number"] in host.rows("nova_cell1").values()
    assert f"setup_develop {PLUGIN.parent} api" in host.output


def test_ids_that_nova_makes_are_above_ours(host):
    for cell in host.cells:
        host.sql(cell, f"INSERT INTO s3_images (uuid) VALUES ('{cell}')")

        assert host.rows(cell)[cell] in ON_DEMAND


def test_the_exercise_succeeds(host):
    done = host.run(PLUGIN / "exercise.sh")

    assert done.returncode == 0, done.stdout
    assert "SUCCESS" in done.stdout


def test_the_agent_survives_a_hup(host):
    main, *services = host.agent()
    assert len(services) >= 3
    assert host.systemctl("reload") == 0

    image = host.create_image()

    await_everywhere(host, image)
    assert host.systemctl("is-active") == 0
    assert main in host.agent()


def test_the_agent_survives_restarts_of_its_servers(host):
    host.mariadb.restart()
    host.rabbit.restart()

    image = host.create_image()

    await_everywhere(host, image, seconds=60)


@pytest.mark.long
def test_a_second_stack_needs_no_unstack(host):
    key = (host.etc / "signing.key").read_bytes()
    before = host.agent()

    host.go("stack", WORLD_UPLOADS="cirros unheard")

    assert len(host.images()) == 2
    assert not set(before) & set(host.agent())
    assert topics(host) == "notifications,ec2map_sync"
    assert (host.etc / "signing.key").read_bytes() == key
    image = host.create_image()
    await_everywhere(host, image)
    assert set(host.rows(host.cells[0])) == host.images()


def test_unstack_stops_every_process_and_leaves_the_broker_clean(host):
    assert host.agent()

    host.go("unstack")

    assert host.agent() == []
    assert "killed" not in host.log()
    assert host.systemctl("is-enabled") != 0
    assert topics(host) is None
    assert "ec2map_sync" not in host.vhosts()
    assert "ec2map_sync" not in host.users()
    assert not [q for q in host.queues() if q.startswith("ec2map_sync")]


def test_clean_leaves_nothing(host):
    host.go("clean")

    assert leftovers(host) == []
    for cell in host.cells:
        assert host.rows(cell)  # Nova's tables are Nova's


@pytest.mark.long
def test_a_disabled_service_changes_nothing(make_devstack):
    host = make_devstack()
    host.configure("disable_service ec2map-sync-agent")

    host.go("stack")
    assert topics(host) is None
    assert leftovers(host) == []
    assert "setup_develop" not in host.output
    assert host.run(PLUGIN / "exercise.sh").returncode == 55

    host.go("clean")


def clean_up(host):
    """Clean up as clean.sh does: unstack.sh first, then stop the servers."""
    done = host.go("clean", "down")
    (host.directory / "down").unlink()

    assert "not found" not in done
    assert "No such" not in done
    assert "MySQL is not there" in done
    assert "RabbitMQ is not there" in done
    return done


def test_a_stack_that_ended_after_install_can_be_cleaned_up(make_devstack):
    host = make_devstack()
    host.go("stack", "install")

    clean_up(host)

    assert leftovers(host) == []


def test_topics_of_local_conf_that_lack_ours_stop_the_stack(make_devstack):
    host = make_devstack()
    host.merge(
        "$GLANCE_API_CONF oslo_messaging_notifications topics notifications"
    )

    done = host.attempt("stack")

    assert done.returncode == 1
    assert "does not send to the topic ec2map_sync" in done.stdout

    clean_up(host)

    # devstack removes the database with all others.
    assert leftovers(host) == ["ec2map_sync"]
    host.mariadb.execute("DROP DATABASE ec2map_sync")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"PEERS": "RegionTwo=amqp://u:urlSecret@192.0.2.2:5672/v"},
            "EC2MAP_SYNC_PEER_KEYS has no public key for the peer RegionTwo",
        ),
        ({"PEERS": "amqp://u:urlSecret@192.0.2.2:5672/v"}, "entry 1 is not"),
        ({"PEERS": "RegionOne=amqp://u:urlSecret@h/v"}, "this region itself"),
        ({"PEER_KEYS": "RegionTwo=ed25519:AA=="}, "does not name"),
        ({"DATABASE": "nova_cell1"}, "nova_cell1 is not ours"),
        ({"DATABASE": "ec2map-sync"}, "only letters"),
        ({"TOPIC": "notifications"}, "read by others"),
        ({"BUS_VHOST": "/"}, "only letters"),
        ({"QUORUM_QUEUES": "yes"}, "auto, True or False"),
        ({"BUS_USER": "stackrabbit"}, "is devstack's"),
        ({"BUS_PASSWORD": "urlSecret@"}, "EC2MAP_SYNC_BUS_PASSWORD: use"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_settings_stop_the_stack_early(make_devstack, settings, reason):
    host = make_devstack(
        **{f"EC2MAP_SYNC_{name}": value for name, value in settings.items()}
    )

    done = host.attempt("stack")

    assert done.returncode == 1
    assert reason in done.stdout
    assert "urlSecret" not in done.stdout
    assert "setup_develop" not in done.stdout
    assert "== " not in done.stdout


def make_key(path):
    """Make a key as README.rst says; its public half."""
    text = (PLUGIN / "README.rst").read_text()
    (block,) = re.findall(r"^    openssl.*\n(?:    .+\n)+", text, re.M)
    command = block.replace("RegionOne.key", str(path))
    done = subprocess.run(
        ["bash", "-ec", command], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.long
def test_two_regions_with_names_of_their_own(
    make_devstack, rabbit_b, tmp_path
):
    one_key, two_key = tmp_path / "one.key", tmp_path / "two.key"
    one_public, two_public = make_key(one_key), make_key(two_key)
    raw = load_pem_private_key(one_key.read_bytes(), None).public_key()
    expected = base64.b64encode(raw.public_bytes_raw()).decode()
    assert one_public == f"ed25519:{expected}"

    def settings(name):
        return {
            "EC2MAP_SYNC_BUS_VHOST": f"{name}_bus",
            "EC2MAP_SYNC_BUS_USER": f"{name}_user",
            "EC2MAP_SYNC_BUS_PASSWORD": f"{name}Secret",
            "EC2MAP_SYNC_DATABASE": f"{name}_ledger",
            "EC2MAP_SYNC_TOPIC": f"{name}_topic",
            "EC2MAP_SYNC_CELLS": f"{name}_cell0 {name}_cell1",
            "EC2MAP_SYNC_EXISTING_ROWS": "rewrite",
            "EC2MAP_SYNC_SIGNING_KEY": str(tmp_path / f"{name}.key"),
            "cells": f"{name}_cell0 {name}_cell1",
        }

    one = make_devstack(region="RegionOne", **settings("one"))
    two = make_devstack(rabbit_b, region="RegionTwo", **settings("two"))
    one.configure(
        EC2MAP_SYNC_PEERS="RegionTwo=amqp://two_user:twoSecret@127.0.0.1:"
        f"{rabbit_b.port}/two_bus",
        EC2MAP_SYNC_PEER_KEYS=f"RegionTwo={two_public}",
    )
    two.configure(
        EC2MAP_SYNC_PEERS="RegionOne=amqp://one_user:oneSecret@127.0.0.1:"
        f"{one.rabbit.port}/one_bus",
        EC2MAP_SYNC_PEER_KEYS=f"RegionOne={one_public}",
        EC2MAP_SYNC_QUORUM_QUEUES="True",
    )
    one.merge("$EC2MAP_SYNC_CONF bus heartbeat_interval 1")
    two.merge(
        "$EC2MAP_SYNC_CONF bus heartbeat_interval 1",
        "$GLANCE_API_CONF oslo_messaging_rabbit amqp_durable_queues True",
    )

    one.go("stack")  # its peer is not there yet
    two.go("stack")

    conf = loaded(one)
    assert conf.bus.heartbeat_interval == 1
    assert conf.rewrite_rows
    assert topics(one) == "notifications,one_topic"
    assert "amqp_durable_queues = True" in two.conf.read_text()
    for host, chosen in ((one, False), (two, True)):
        for file in (host.conf, host.glance_conf):
            assert ("rabbit_quorum_queue = True" in file.read_text()) == chosen
    image = one.create_image()
    images = one.images() | two.images() | {image}
    for host in (one, two):
        for image in images:
            await_everywhere(host, image)
    assert one.rows("one_cell1") == two.rows("two_cell0")

    for host in (one, two):
        host.go("clean")
        assert leftovers(host) == []
        for secret in ("oneSecret", "twoSecret", "PRIVATE KEY"):
            assert secret not in host.output + host.log()
    assert one_key.exists()  # it was there before the stack


def test_no_secret_is_in_any_output(host):
    said = host.output + host.log()

    assert len(said) > 1000
    secrets = {
        name: secret
        for name, secret in host.settings.items()
        if name.endswith(("PASSWORD", "HASH_KEY"))
    }
    assert len(secrets) > 1
    for name, secret in secrets.items():
        assert secret not in said, name
    assert "PRIVATE KEY" not in said
