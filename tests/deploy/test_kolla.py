"""Kolla's own programs take the role, the image, and what starts in it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import kolla
import pytest
from apart import start_apart
from patience import wait_until, within
from scraping import get
from servers import free_port

from ec2map_sync.protocol.signing import SigningKey

ROOT = Path(__file__).parents[2]
OURS = ROOT / "etc/kolla"
BIN = Path(sys.executable).parent
THEIRS = Path(sysconfig.get_path("data"), "share/kolla-ansible")
BASE = Path(kolla.__file__).parent / "docker/base"
HOSTS = ("one", "two")

CONFIG = """\
[DEFAULT]
region = RegionOne
transport_url = rabbit://us:{{ ec2map_sync_password }}@127.0.0.1:1/
[ledger]
connection = sqlite:////var/lib/ec2map-sync/ledger
[nova]
cells =
[bus]
signing_key_file = /etc/ec2map-sync/signing.key
"""

INVENTORY = f"""\
[ec2map-sync]
{HOSTS[0]}
{HOSTS[1]}
[all:vars]
ansible_connection=local
ansible_become=false
ansible_python_interpreter={sys.executable}
"""


def run(*command: object, **variables: object) -> str:
    """Run a program that has to work, and give its output."""
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | {k: str(v) for k, v in variables.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within(280),
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Deployment:
    """kolla-ansible with our role, as the page says, and what it deploys."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.nodes = directory / "nodes"
        self._asked = directory / "asked"
        self._ansible = directory / "ansible"
        self._config = directory / "etc"
        self._inventory = directory / "inventory"
        self._inventory.write_text(INVENTORY)
        self._install()
        self._configure()

    def _install(self) -> None:
        shutil.copytree(THEIRS / "ansible", self._ansible)
        shutil.copy(OURS / "ec2map-sync.yml", self._ansible)
        shutil.copytree(
            OURS / "roles", self._ansible / "roles", dirs_exist_ok=True
        )
        utils = self._ansible / "module_utils"
        shutil.copy(
            Path(__file__).parent / "engine.py",
            utils / "kolla_docker_worker.py",
        )
        # Theirs wants D-Bus as soon as it is imported.
        (utils / "kolla_systemd_worker.py").write_text("SystemdWorker = None")

    def _configure(self) -> None:
        files = self._config / "config/ec2map-sync"
        files.mkdir(parents=True)
        (files / "ec2map-sync.conf").write_text(CONFIG)
        SigningKey.generate().save(files / "signing.key")
        settings = {
            "api_interface_address": "127.0.0.1",
            "docker_registry": "registry.example.org",
            "ec2map_sync_listen": f"127.0.0.1:{self.port}",
            "kolla_internal_vip_address": "192.0.2.1",
            "node_config_directory": str(self.nodes),
        }
        (self._config / "globals.yml").write_text(json.dumps(settings))
        (self._config / "passwords.yml").write_text(
            "ec2map_sync_password: secret\ndocker_registry_password:\n"
        )

    def act(self, action: str) -> list[dict]:
        """Give what the engine of each host was asked for."""
        self._asked.unlink(missing_ok=True)
        run(
            BIN / "kolla-ansible",
            action,
            f"--inventory={self._inventory}",
            f"--configdir={self._config}",
            f"--playbook={self._ansible / 'ec2map-sync.yml'}",
            EC2MAP_SYNC_ASKED=self._asked,
            PATH=f"{BIN}:{os.environ['PATH']}",
        )
        return [json.loads(line) for line in self._asked.open()]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    return Deployment(tmp_path_factory.mktemp("kolla"))


@pytest.fixture(scope="module")
def deployed(deployment):
    return deployment.act("deploy")


def actions(asked: list[dict]) -> list[tuple[str, str]]:
    return [(one["action"], one["name"]) for one in asked]


CHECK = [("compare_container", "ec2map_sync")] * 2
RESTART = [("recreate_or_restart_container", "ec2map_sync")] * 2
UPGRADE = [
    *[("stop_container", "ec2map_sync")] * 2,
    ("start_container", "bootstrap_ec2map_sync"),
]


def test_tables_are_made_once_before_agents_start(deployed):
    assert actions(deployed) == [*UPGRADE, *CHECK, *RESTART]


def test_an_upgrade_stops_all_agents_first(deployment):
    assert actions(deployment.act("upgrade")) == [*UPGRADE, *CHECK, *RESTART]


def test_a_reconfiguration_upgrades_nothing(deployment):
    assert actions(deployment.act("reconfigure")) == [*CHECK, *RESTART]


def test_a_container_is_what_it_is_compared_with(deployed):
    """Else each deployment would make it anew."""
    ignored = {"action", "command", "labels"}
    compared, made = (
        {
            name: value
            for name, value in one.items()
            if name not in ignored and value
        }
        for one in (deployed[3], deployed[-1])
    )

    assert compared == made
    assert made["image"].startswith("registry.example.org/")
    assert "ec2map_sync:/var/lib/ec2map-sync/" in made["volumes"]
    assert made["environment"]["KOLLA_CONFIG_STRATEGY"] == "COPY_ALWAYS"


def test_the_bootstrap_ends_and_is_one(deployed):
    (bootstrap,) = (one for one in deployed if "bootstrap" in one["name"])

    assert "KOLLA_BOOTSTRAP" in bootstrap["environment"]
    assert bootstrap["restart_policy"] == "oneshot"
    assert bootstrap["detach"] is False


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory):
    """What kolla-build makes of our template; it does not build it."""
    work = tmp_path_factory.mktemp("build")
    run(
        BIN / "kolla-build",
        f"--config-file={OURS / 'kolla-build.conf'}",
        f"--docker-dir={OURS / 'docker'}",
        f"--work-dir={work}",
        "--template-only",
        "--base=debian",
        "^ec2map-sync$",
    )
    (found,) = work.glob("docker/ec2map-sync/Dockerfile")
    return found.read_text()


def test_kolla_build_makes_a_dockerfile(dockerfile):
    assert dockerfile.startswith("FROM kolla/openstack-base:")
    assert "pip --no-cache-dir install --upgrade" in dockerfile
    assert dockerfile.splitlines()[-1] == "USER ec2map-sync"


PREPARE = r"""
mkdir -p var/lib/kolla/config_files var/lib/ec2map-sync
mount --bind "$FILES" var/lib/kolla/config_files
mount --bind "$STATE" var/lib/ec2map-sync
cp "$BASE/set_configs.py" usr/local/bin/kolla_set_configs
cp "$BASE/start.sh" usr/local/bin/kolla_start
cp "$EXTEND" usr/local/bin/kolla_extend_start
for there in kolla_copy_cacerts kolla_install_projects; do
    printf '#!/bin/sh\n' >"usr/local/bin/$there"
done
printf '#!/bin/sh\n[ "$1" != -E ] || shift\nexec "$@"\n' >usr/local/bin/sudo
chmod +x usr/local/bin/*
echo ec2map-sync:x:42499: >>etc/group
echo ec2map-sync:x:42499:42499::/var/lib/ec2map-sync:/bin/false >>etc/passwd
"""


@pytest.fixture(scope="module")
def container(deployment, deployed, tmp_path_factory):
    """Starts programs where Kolla's base image has what it has."""
    (files,) = deployment.nodes.iterdir()
    places = {
        "FILES": files,
        "STATE": tmp_path_factory.mktemp("state"),
        "BASE": BASE,
        "EXTEND": OURS / "docker/ec2map-sync/extend_start.sh",
    }

    def start(*command: str, **environment: str) -> subprocess.Popen[str]:
        set_there = deployed[-1]["environment"] | environment
        return start_apart(PREPARE, *command, **places, **set_there)

    return start


def test_kolla_start_bootstraps_and_ends(container):
    done = container("kolla_start", KOLLA_BOOTSTRAP="")

    said, _ = done.communicate(timeout=within(60))

    assert done.returncode == 0, said
    assert "\nupgraded: " in said


def is_healthy(port: int) -> bool:
    with suppress(OSError):
        return get(f"http://127.0.0.1:{port}/healthz").status == HTTPStatus.OK
    return False


def test_kolla_start_starts_the_agent(container, deployment):
    agent = container("kolla_start")

    try:
        wait_until(lambda: is_healthy(deployment.port), 60)
    finally:
        agent.terminate()
        said, _ = agent.communicate(timeout=within(60))
    assert agent.returncode == 0, said
    assert "region RegionOne" in said


LOOK = """
set -eu
kolla_set_configs
stat --format='%U %a %n' /etc/ec2map-sync/*
cat /etc/ec2map-sync/ec2map-sync.conf /run_command
kolla_set_configs --check
"""


def test_files_are_for_the_agent_alone(container):
    done = container("sh", "-c", LOOK)

    said, _ = done.communicate(timeout=within(60))

    assert done.returncode == 0, said
    assert "ec2map-sync 600 /etc/ec2map-sync/ec2map-sync.conf\n" in said
    assert "ec2map-sync 600 /etc/ec2map-sync/signing.key\n" in said
    assert "rabbit://us:secret@" in said
    assert "ec2map-sync-agent --config-file /etc/ec2map-sync/" in said
