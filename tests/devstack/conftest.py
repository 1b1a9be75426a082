from patience import within
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fake_glance import FakeGlance, FakeImage
from fleet import S3_IMAGES
from servers import MariaDB, RabbitMQ, find_program, free_port

HERE = Path(__file__).parent
PLUGIN = HERE.parent.parent / "devstack"
BIN = Path(sys.executable).parent
UNIT = "devstack@ec2map-sync-agent.service"

SECRETS = {
    "DATABASE_PASSWORD": "databaseSecret",
    "RABBIT_PASSWORD": "rabbitSecret",
    "SERVICE_PASSWORD": "serviceSecret",
    "EC2MAP_SYNC_HASH_KEY": "hash$Secret",
}


class Glance(FakeGlance):
    """Lists the images of a file: those of world/openstack.py."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def answer(self, query: dict[str, str]) -> dict[str, Any]:
        """Answer a list request."""
        known = {image.id: image for image in self.images}
        listed = self._path.read_text().split()
        self.images = [known.get(i) or FakeImage(id=i) for i in listed]
        return super().answer(query)


class Devstack:
    """One host: what devstack has there, and the plugin.

    Its functions are in world/functions.sh; database, broker and agent are
    real. ``settings`` is what local.conf sets.
    """

    def __init__(
        self,
        directory: Path,
        rabbit: RabbitMQ,
        mariadb: MariaDB,
        *,
        region: str = "RegionOne",
        cells: str = "nova_cell0 nova_cell1 nova_cell2",
        **settings: str,
    ) -> None:
        self.directory = directory
        self.rabbit = rabbit
        self.mariadb = mariadb
        self.region = region
        self.cells = cells.split()
        self.etc = directory / "etc" / "ec2map-sync"
        self.state = directory / "data" / "ec2map-sync"
        self.conf = self.etc / "ec2map-sync.conf"
        self.glance_conf = directory / "glance-api.conf"
        self.settings = {
            "ENABLED_SERVICES": "mysql,rabbit,g-api,n-api,n-cond,key",
            "STACK_USER": str(os.getuid()),
            "REGION_NAME": region,
            "DATA_DIR": str(directory / "data"),
            "NOVA_NUM_CELLS": str(len(self.cells) - 1),
            "GLANCE_API_CONF": str(self.glance_conf),
            "KEYSTONE_SERVICE_URI": "http://127.0.0.1/identity",
            "DATABASE_USER": "devstack",
            "RABBIT_HOST": f"127.0.0.1:{rabbit.port}",
            "SYSTEMCTL": "systemctl",
            "EC2MAP_SYNC_CONF_DIR": str(self.etc),
            "EC2MAP_SYNC_LINK_DIR": str(directory / "links"),
            "SERVICE_HOST": "127.0.0.1",
            "SERVICE_LISTEN_ADDRESS": "127.0.0.1",
            "EC2MAP_SYNC_API_PORT": "0",
            "EC2MAP_SYNC_CLAIM_WAIT": "1",
            "EC2MAP_SYNC_READY_TIMEOUT": "60",
        }
        self.settings |= SECRETS | settings
        self.glance = Glance(directory / "images")
        self.keystone_port = free_port()
        self.output = ""
        """All that the scripts have printed."""
        self._environment = self._lay_out()

    def _lay_out(self) -> dict[str, str]:
        directory = self.directory
        programs = directory / "bin"
        programs.mkdir(parents=True)
        (directory / "links").mkdir()
        (directory / "devstack").mkdir()
        for path in ("images", "merge.sh"):
            (directory / path).touch()
        (directory / "s3_images.sql").write_text(S3_IMAGES)
        self.configure()
        (directory / "devstack" / "functions").symlink_to(
            HERE / "world" / "functions.sh"
        )
        (directory / "devstack" / "openrc").write_text(
            'source "$WORLD/localrc"\n'
        )
        (programs / "systemctl").symlink_to(HERE / "world" / "systemctl")
        down = '[ ! -e "$WORLD/down" ] || exit 69\n'
        rabbitmqctl = shlex.join(
            [
                "env",
                *(f"{k}={v}" for k, v in self.rabbit._variables().items()),
                str(self.rabbit._scripts / "rabbitmqctl"),
            ]
        )
        mysql = find_program("mariadb", "mariadb-server")
        openstack = shlex.join(
            [sys.executable, str(HERE / "world" / "openstack.py")]
        )
        for name, text in {
            "sudo": 'exec "$@"',
            "rabbitmqctl": f'{down}exec {rabbitmqctl} "$@"',
            "mysql": f"{down}exec {mysql} --no-defaults"
            f' --port={self.mariadb.port} "$@"',
            "openstack": f'exec {openstack} "$@"',
        }.items():
            program = programs / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        return {
            "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "WORLD": str(directory),
            "WORLD_OWNER": str(os.getpid()),
            "WORLD_PLUGIN": str(PLUGIN),
            "WORLD_PYTHON": str(BIN),
            "WORLD_MYSQL_PORT": str(self.mariadb.port),
            "WORLD_CELLS": " ".join(self.cells),
            "WORLD_UPLOADS": "cirros",
            "WORLD_GLANCE": self.glance.url,
            "WORLD_KEYSTONE": f"http://127.0.0.1:{self.keystone_port}",
            "GLANCE_API_CONF": str(self.glance_conf),
            "DEVSTACK_DIR": str(directory / "devstack"),
            "PYTHONSAFEPATH": "1",
        }

    def configure(self, *lines: str, **settings: str) -> None:
        """Change the section [[local|localrc]] of local.conf."""
        self.settings |= settings
        text = [f"{k}={shlex.quote(v)}" for k, v in self.settings.items()]
        (self.directory / "localrc").write_text("\n".join([*text, *lines, ""]))

    def merge(self, *lines: str) -> None:
        """Set what devstack merges into files after the post-config phase.

        Each line is FILE SECTION OPTION VALUE, with the files' variables.
        """
        text = "".join(f"iniset {line}\n" for line in lines)
        (self.directory / "merge.sh").write_text(text)

    def run(self, *command: str | Path, **variables: str) -> Any:
        """Run a script of this host; its exit code and output."""
        done = subprocess.run(
            command,
            env=self._environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within(240),
            check=False,
        )
        self.output += done.stdout
        return done

    def attempt(self, *phase: str, **variables: str) -> Any:
        """Run stack.sh, unstack.sh or clean.sh."""
        return self.run(HERE / "world" / "devstack.sh", *phase, **variables)

    def go(self, *phase: str, **variables: str) -> str:
        """Run a script that has to succeed; what it printed."""
        done = self.attempt(*phase, **variables)
        assert done.returncode == 0, done.stdout[-8000:]
        return str(done.stdout)

    def systemctl(self, verb: str) -> int:
        """Act on the agent's unit."""
        return int(self.run("systemctl", verb, UNIT).returncode)

    def agent(self) -> list[int]:
        """Give the ids of all processes that any start of the agent left."""
        path = self.directory / "sessions"
        sessions = path.read_text().split() if path.exists() else []
        listed = subprocess.run(
            ["ps", "-eo", "pid=,sess=,stat="],
            capture_output=True,
            text=True,
            check=True,
        )
        return [
            int(pid)
            for pid, session, state in map(
                str.split, listed.stdout.splitlines()
            )
            if session in sessions and not state.startswith("Z")
        ]

    def log(self) -> str:
        """Give what the agent has said."""
        path = self.directory / "agent.log"
        return path.read_text() if path.exists() else ""

    def create_image(self) -> str:
        """Create an image in Glance; its UUID."""
        done = self.run("openstack", "image", "create", "test")
        assert done.returncode == 0, done.stdout
        return str(done.stdout.split()[-1])

    def images(self) -> set[str]:
        """Give the images that Glance has."""
        return set((self.directory / "images").read_text().split())

    def sql(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in a database."""
        engine = sa.create_engine(
            self.mariadb.url(database), poolclass=sa.NullPool
        )
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(r) for r in result] if result.returns_rows else []

    def rows(self, cell: str) -> dict[str, int]:
        """Give a cell's mappings."""
        found = self.sql(cell, "SELECT uuid, id FROM s3_images")
        return {str(uuid): int(number) for uuid, number in found}

    def databases(self) -> set[str]:
        """Give the databases of the server."""
        return {
            str(name) for (name,) in self.mariadb.execute("SHOW DATABASES")
        }

    def vhosts(self) -> list[str]:
        """Give the virtual hosts of the broker."""
        return self.rabbit.ctl("list_vhosts").split()

    def users(self) -> list[str]:
        """Give the users of the broker."""
        lines = self.rabbit.ctl("list_users").splitlines()
        return [line.split("\t")[0] for line in lines]

    def queues(self, vhost: str = "/") -> set[str]:
        """Give the queues of a virtual host."""
        return set(self.rabbit.queue_depths(vhost))

    def kill(self) -> None:
        """Leave no process behind."""
        for pid in self.agent():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


@pytest.fixture(scope="module")
def make_devstack(tmp_path_factory, rabbit_a, mariadb):
    """Make hosts, with accounts as devstack has them; none is left running."""
    made = []
    rabbits = []

    def make(rabbit=rabbit_a, **settings):
        if rabbit not in rabbits:
            rabbits.append(rabbit)
            rabbit.ctl("add_user", "stackrabbit", SECRETS["RABBIT_PASSWORD"])
            rabbit.ctl("set_permissions", "stackrabbit", ".*", ".*", ".*")
        host = Devstack(
            tmp_path_factory.mktemp("devstack"), rabbit, mariadb, **settings
        )
        host.glance.start()
        made.append(host)
        return host

    mariadb.execute(
        "CREATE OR REPLACE USER devstack@'%' IDENTIFIED BY"
        f" '{SECRETS['DATABASE_PASSWORD']}'"
    )
    mariadb.execute("GRANT ALL ON *.* TO devstack@'%'")
    yield make
    for host in made:
        host.kill()
        host.glance.stop()
    for rabbit in rabbits:
        rabbit.ctl("delete_user", "stackrabbit")
