"""The quick start does what it says, block by block.

Only addresses, ports and directories are replaced. Not run is the block that
installs: the tests run from an installed package. In the place of Glance and
its client stands oslo.messaging's notifier, set up as the page sets Glance.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import kombu
import pymysql
import pytest
from amqp.exceptions import AccessRefused, NotAllowed
from fleet import S3_IMAGES
from patience import within
from servers import MariaDB, RabbitMQ, find_program

pytestmark = pytest.mark.services

PAGE = "doc/source/quickstart.rst"
MARK = "--- block ended:"
SUPPORT = Path(sys.modules["servers"].__file__ or "").parent

# What `openstack image create` sets off in Glance, and what it prints.
GLANCE = """
import json, sys, uuid
sys.path.insert(0, {support!r})
import oslo_messaging
from fleet import create_envelope
from oslo_config import cfg

image = str(uuid.uuid4())
envelope = json.loads(create_envelope(image))
payload = json.loads(envelope["oslo.message"])["payload"]
oslo_messaging.set_transport_defaults("glance")
conf = cfg.ConfigOpts()
conf(["--config-file", {config!r}])
notifier = oslo_messaging.Notifier(
    oslo_messaging.get_notification_transport(conf), "image.localhost"
)
notifier.info({{}}, "image.create", payload)
print(image)
"""


class Operator:
    """A root shell in a region, and whoever types there."""

    def __init__(
        self, name: str, rabbit: RabbitMQ, mariadb: MariaDB, root: Path
    ) -> None:
        self.name = name
        self.rabbit = rabbit
        self.mariadb = mariadb
        self.root = root
        self.replaced: dict[str, str] = {}
        for directory in ("etc", "opt", "var/lib", "var/log", "home", "bin"):
            (root / directory).mkdir(parents=True)
        (root / "opt/ec2map-sync").symlink_to(sys.prefix)
        # In the place of /etc, which belongs to the machine.
        (root / "home/.ec2map-sync").symlink_to(root / "etc/ec2map-sync")
        self._make_programs()
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-e"],
            env={
                "HOME": str(root / "home"),
                "PATH": f"{root}/bin:{os.environ['PATH']}",
                "PYTHONWARNINGS": "ignore",
                "PYTHONSAFEPATH": os.environ.get("PYTHONSAFEPATH", ""),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _make_programs(self) -> None:
        variables = " ".join(
            f"'{name}={value}'"
            for name, value in self.rabbit._variables().items()
        )
        mariadb = find_program("mariadb", "mariadb-client")
        glance = self.root / "glance.py"
        glance.write_text(
            GLANCE.format(support=str(SUPPORT), config=str(self._glance))
        )
        for name, line in {
            "rabbitmqctl": f"env -i {variables} {self.rabbit._scripts}/"
            'rabbitmqctl --silent "$@" </dev/null',
            "mariadb": f"{mariadb} --no-defaults --host=127.0.0.1 "
            f'--port={self.mariadb.port} --user=root "$@"',
            "openstack": f"{sys.executable} {glance}",
        }.items():
            program = self.root / "bin" / name
            program.write_text(f"#!/bin/sh\nexec {line}\n")
            program.chmod(0o755)

    @property
    def _glance(self) -> Path:
        return self.root / "glance-api.conf"

    def configure_glance(self, text: str) -> None:
        """Write glance-api.conf: the broker, and what the page adds."""
        url = self.rabbit.transport_url()
        self._glance.write_text(f"[DEFAULT]\ntransport_url = {url}\n{text}")

    def type(self, block: str) -> str:
        """Run a block in the shell; give what it printed."""
        for old, new in self.replaced.items():
            block = block.replace(old, new)
        block = re.sub(
            r"/(etc|opt|var/lib|var/log)/ec2map-sync",
            rf"{self.root}/\1/ec2map-sync",
            block,
        )
        script = self.root / "block"
        script.write_text(block)
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f". {script}; echo '{MARK}'\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.startswith(MARK):
                return "".join(lines)
            lines.append(line)
        raise AssertionError(
            f"{self.name}: a command failed in\n{block}\n{''.join(lines)}"
            f"\nlog:\n{self.log()}"
        )

    def type_until(
        self, block: str, done: Callable[[str], bool], seconds: float = 60
    ) -> str:
        """Run a block again and again, until it prints what is awaited."""
        deadline = time.monotonic() + within(seconds)
        while not done(output := self.type(f"{{ {block} }} || true")):
            assert time.monotonic() < deadline, (block, output, self.log())
            time.sleep(0.2)
        return output

    def log(self) -> str:
        """Give what the agent has said."""
        with contextlib.suppress(FileNotFoundError):
            return (self.root / "var/log/ec2map-sync.log").read_text()
        return ""

    def leave(self) -> None:
        """End the shell, and an agent that a failed test has left."""
        self._shell.kill()
        self._shell.communicate()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes()
                if os.fsencode(self.root / "opt") in command:
                    os.kill(int(process.name), signal.SIGKILL)


Regions = tuple[Operator, Operator]


@pytest.fixture(scope="module")
def regions(
    rabbit_a: RabbitMQ,
    rabbit_b: RabbitMQ,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Regions]:
    """Two regions before the quick start: servers, and Nova's tables."""
    root = tmp_path_factory.mktemp("quick-start")
    with contextlib.ExitStack() as stack:
        found = []
        for name, rabbit in (("RegionOne", rabbit_a), ("RegionTwo", rabbit_b)):
            mariadb = stack.enter_context(MariaDB(root / f"{name}-mariadb"))
            for database in ("nova_cell0", "nova"):
                mariadb.create_database(database)
                mariadb.execute(
                    S3_IMAGES.replace("s3_images", f"{database}.s3_images")
                )
            operator = Operator(name, rabbit, mariadb, root / name)
            _forget_glance(rabbit)
            stack.callback(operator.leave)
            stack.callback(_tidy, rabbit)
            found.append(operator)
        one, two = found
        for here, there in ((one, two), (two, one)):
            here.replaced = {
                "one.example.org": "127.0.0.1",
                "two.example.org": "127.0.0.1",
                "$PEER_HOST:5672": f"$PEER_HOST:{there.rabbit.port}",
                "localhost:5672": f"127.0.0.1:{here.rabbit.port}",
                "localhost:3306": f"127.0.0.1:{here.mariadb.port}",
            }
        yield one, two


def _forget_glance(rabbit: RabbitMQ) -> None:
    """Delete an exchange that others' tests have declared otherwise."""
    with kombu.Connection(rabbit.url()) as connection:
        connection.default_channel.exchange_delete("glance")
        for priority in ("info", "warn", "error"):
            connection.default_channel.queue_delete(f"ec2map_sync.{priority}")


def _tidy(rabbit: RabbitMQ) -> None:
    """Take the quick start's accounts off a broker that others use too."""
    _forget_glance(rabbit)
    rabbit.remove("ec2map_sync")
    for user in ("ec2map_sync", "RegionOne", "RegionTwo"):
        with contextlib.suppress(Exception):  # one of the three is not there
            rabbit.ctl("delete_user", user)


class Reader:
    """Whoever follows the quick start, in both regions."""

    def __init__(self, regions: Regions) -> None:
        self.regions = regions
        self.image = ""
        self.printed: dict[str, str] = {}
        self._acts = {
            "driver = messagingv2": self._configure_glance,
            "pip install": lambda _block: None,
            "REGION=RegionOne": regions[0].type,
            "REGION=RegionTwo": regions[1].type,
            "key generate": self._exchange_keys,
            "openstack image create": self._create_image,
            "IMAGE=...": self._enter_image,
            "grep ": self._await_line,
            "SELECT uuid": self._await_row,
        }

    def follow(self, blocks: list[tuple[str, str]]) -> None:
        """Do what the blocks say, one after the other."""
        for _, block in blocks:
            for text, act in self._acts.items():
                if text in block:
                    act(block)
                    break
            else:
                for operator in self.regions:
                    operator.type(block)

    def _configure_glance(self, block: str) -> None:
        for operator in self.regions:
            operator.configure_glance(block)

    def _exchange_keys(self, block: str) -> None:
        one, two = self.regions
        for here, there in ((one, two), (two, one)):
            there.replaced["ed25519:..."] = here.type(block).strip()

    def _create_image(self, block: str) -> None:
        self.image = self.regions[0].type(block).strip()

    def _enter_image(self, block: str) -> None:
        self.regions[1].type(block.replace("...", self.image))

    def _await_line(self, block: str) -> None:
        for operator in self.regions:
            operator.type_until(block, bool)

    def _await_row(self, block: str) -> None:
        for operator in self.regions:
            self.printed[operator.name] = operator.type_until(
                block, lambda output: self.image in output
            )


@pytest.fixture(scope="module")
def printed(
    regions: Regions, blocks: Callable[[str], list[tuple[str, str]]]
) -> dict[str, str]:
    """The quick start, done; what showed the id in each region."""
    reader = Reader(regions)
    reader.follow(blocks(PAGE))
    return reader.printed


def test_the_quick_start_ends_with_the_same_id_in_both_regions(
    regions, printed
):
    assert printed["RegionOne"] == printed["RegionTwo"]
    *_, row, derived = printed["RegionOne"].splitlines()
    assert row.split("\t")[1] == derived
    for operator in regions:
        cells = [
            operator.mariadb.execute(f"SELECT id, uuid FROM {cell}.s3_images")
            for cell in ("nova_cell0", "nova")
        ]
        assert cells[0] == cells[1]
        assert len(cells[0]) == 1
        assert "ACCESS_REFUSED" not in operator.log()
        assert "ERROR" not in operator.log()


def peer_does(rabbit: RabbitMQ, act: Callable[[kombu.Connection], None]):
    """Act with the account that RegionTwo has been given."""
    url = f"amqp://RegionTwo:two-at-one@127.0.0.1:{rabbit.port}/ec2map_sync"
    with kombu.Connection(
        url, transport_options={"confirm_publish": True}
    ) as connection:
        act(connection)


def follow_one(connection: kombu.Connection) -> None:
    """Do what RegionTwo's Follower does on RegionOne's broker."""
    channel = connection.default_channel
    channel.exchange_declare("ec2map_sync", "topic", passive=True)
    queue = kombu.Queue("ec2map_sync.RegionTwo", durable=False, exclusive=True)
    queue(channel).queue_declare()
    queue(channel).bind_to("ec2map_sync", "claims")
    queue(channel).consume()
    publish("ec2map_sync.requests")(connection)


def open_queue(name: str) -> Callable[[kombu.Connection], None]:
    return lambda connection: kombu.Queue(name)(
        connection.default_channel
    ).queue_declare()


def publish(exchange: str) -> Callable[[kombu.Connection], None]:
    return lambda connection: connection.Producer().publish(
        "{}", exchange=exchange, routing_key="claims"
    )


@pytest.fixture(scope="module")
def rights(blocks) -> list[str]:
    """The arguments of set_permissions, for RegionTwo's account."""
    text = next(b for _, b in blocks(PAGE) if "set_permissions" in b)
    command = next(
        part for part in text.split("rabbitmqctl ") if '"$PEER"' in part
    )
    return re.findall(r'"(\^.*)"', command)


def set_rights(rabbit: RabbitMQ, rights: list[str]) -> None:
    given = [
        right.replace("$PEER", "RegionTwo").replace("\\$", "$")
        for right in rights
    ]
    rabbit.ctl("set_permissions", "-p", "ec2map_sync", "RegionTwo", *given)


@pytest.mark.usefixtures("printed")
@pytest.mark.parametrize(
    ("right", "less"),
    [
        (0, "^$"),
        (1, "^$"),
        pytest.param(
            *(1, r"^ec2map_sync\.$PEER(\.replay)?$"), marks=pytest.mark.long
        ),
        (1, r"^ec2map_sync\.requests$"),
        pytest.param(2, "^$", marks=pytest.mark.long),
        pytest.param(
            *(2, r"^ec2map_sync\.$PEER(\.replay)?$"), marks=pytest.mark.long
        ),
        (2, r"^ec2map_sync$"),
    ],
)
def test_with_fewer_rights_a_peer_cannot_follow(rights, rabbit_a, right, less):
    set_rights(rabbit_a, rights)
    delete_peers_queue(rabbit_a)
    peer_does(rabbit_a, follow_one)

    set_rights(rabbit_a, [*rights[:right], less, *rights[right + 1 :]])
    with pytest.raises(AccessRefused):
        peer_does(rabbit_a, follow_one)


def delete_peers_queue(rabbit: RabbitMQ) -> None:
    with contextlib.suppress(Exception):
        rabbit.ctl(
            "delete_queue", "-p", "ec2map_sync", "ec2map_sync.RegionTwo"
        )


@pytest.mark.usefixtures("printed")
@pytest.mark.parametrize(
    "act",
    [
        open_queue("ec2map_sync.RegionThree"),
        open_queue("anything"),
        publish("ec2map_sync"),
        publish(""),
        publish("amq.topic"),
    ],
)
def test_a_peer_can_do_no_more_than_read_and_ask(rights, rabbit_a, act):
    set_rights(rabbit_a, rights)

    with pytest.raises(AccessRefused):
        peer_does(rabbit_a, act)


@pytest.mark.usefixtures("printed")
def test_a_peer_does_not_reach_the_clouds_own_bus(rabbit_a):
    url = f"amqp://RegionTwo:two-at-one@127.0.0.1:{rabbit_a.port}//"

    with (
        pytest.raises(NotAllowed),
        kombu.Connection(url) as connection,
    ):
        connection.connect()


@pytest.mark.usefixtures("printed")
def test_in_a_cell_the_account_reaches_one_table_only(regions):
    mariadb = regions[0].mariadb
    mariadb.execute("CREATE TABLE nova.instances (id INT)")

    with (
        pymysql.connect(
            host="127.0.0.1",
            port=mariadb.port,
            user="ec2map_sync",
            password="database-secret",
            database="nova",
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT id FROM s3_images")
        for statement in (
            "SELECT * FROM instances",
            "ALTER TABLE s3_images ADD COLUMN x INT",
            "DROP TABLE s3_images",
        ):
            with pytest.raises(pymysql.OperationalError, match="denied"):
                cursor.execute(statement)
