"""Private servers for tests: brokers and databases on loopback ports.

Each has its own directory, ports and processes, as root or as anybody else,
and leaves the servers of the machine alone. A server keeps its ports and its
data when it is stopped or killed and started again. All of them end with the
process that started them, even if that is killed.
"""

import atexit
import contextlib
import getpass
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import kombu
import psycopg
import pymysql
from patience import POLL_SECONDS, wait_until, within

PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
)
TOOLS = Path(__file__).parents[2] / "tools"
RABBITMQ_SCRIPTS = "rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
GALERA = "/usr/lib/galera/libgalera_smm.so"
NOWHERE = "00000000-0000-0000-0000-000000000000:-1"
POSTGRESQL_PROGRAMS = "usr/lib/postgresql/*/bin/postgres"

START_SECONDS = within(90)
STOP_SECONDS = within(60)
LOG_TAIL = 4000

# Below the ports that the kernel gives to outgoing connections, so that
# nobody takes a server's port while it is down.
_PORTS = range(20000, 32000)
_taken: set[int] = set()

# A server is to die with the thread that started it (setpriv below). That
# must not be a thread of a test: this one lives as long as the process.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="servers")


class ServerError(Exception):
    """A server is not installed, or does not do what it was told."""


def free_port() -> int:
    """Give a loopback port that nobody uses, each one once."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port


def find_program(name: str, package: str) -> str:
    """Give the path of a program, or say which package has it."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise _not_installed(name, package)
    return found


def _not_installed(name: str, package: str) -> ServerError:
    return ServerError(f"{name} is not installed: apt-get install {package}")


@dataclass(frozen=True)
class Root:
    """A root directory with programs: the machine's, or one unpacked."""

    place: Path = Path("/")
    enter: tuple[str, ...] = ()
    """What runs a program there."""

    @classmethod
    def unpacked(cls, tool: str) -> Self:
        """Give the one that a program of the tree's unpacks."""
        done = subprocess.run(
            [TOOLS / tool], check=True, stdout=subprocess.PIPE, text=True
        )
        found = Path(done.stdout.strip())
        return cls(found / "root", (str(found / "enter"),))

    @property
    def user(self) -> str:
        """Who one is there."""
        return "root" if self.enter else getpass.getuser()

    def find(self, name: str, package: str) -> str:
        """Give the path that a program has there."""
        if not self.enter:
            return find_program(name, package)
        places = ("usr/sbin", "usr/bin")
        found = [p for p in places if (self.place / p / name).exists()]
        if not found:
            raise ServerError(f"{self.place} lacks {name} of {package}")
        return f"/{found[0]}/{name}"

    def newest(self, pattern: str) -> Path | None:
        """Give the path there that sorts last of those that fit."""
        found = sorted(self.place.glob(pattern))
        return Path("/") / found[-1].relative_to(self.place) if found else None


@cache
def databases() -> Root:
    """Give where MariaDB and PostgreSQL are: the machine's, or Debian 13's.

    The latter if EC2MAP_SYNC_DATABASES is trixie.
    """
    if os.environ.get("EC2MAP_SYNC_DATABASES") == "trixie":
        return Root.unpacked("trixie-databases-env")
    return Root()


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": PATH, "HOME": str(home), "LANG": "C.UTF-8"}


class Server:
    """A process with a directory, which can be stopped, killed, restarted."""

    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it answers."""
        if self.pid is not None:
            return
        self._prepare()
        self._process = _spawner.submit(self._spawn).result()
        atexit.register(self.kill)
        try:
            self._await_answer(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let it end in order."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise self._error(
                    f"did not stop within {STOP_SECONDS} s"
                ) from None
        self.kill()

    def kill(self) -> None:
        """End it on the spot (SIGKILL), and what it has started with it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        atexit.unregister(self.kill)

    def restart(self) -> None:
        """Stop and start it: same ports, same data."""
        self.stop()
        self.start()

    def _prepare(self) -> None:
        """Make what must be there before the process starts."""

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _variables(self) -> dict[str, str]:
        return _environment(self.directory)

    def _answers(self) -> bool:
        raise NotImplementedError

    def _spawn(self) -> subprocess.Popen[bytes]:
        setpriv = find_program("setpriv", "util-linux")
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [setpriv, "--pdeathsig=KILL", *self._command()],
                cwd=self.directory,
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            status = process.poll()
            if status is not None:
                raise self._error(f"ended with status {status}")
            if time.monotonic() > deadline:
                raise self._error(f"did not answer within {START_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def _error(self, what: str) -> ServerError:
        tail = self.log.read_bytes()[-LOG_TAIL:].decode(errors="replace")
        return ServerError(
            f"{type(self).__name__} in {self.directory} {what}\n{tail}"
        )


class Epmd(Server):
    """Erlang's port mapper, which RabbitMQ nodes need; several may share it.

    Without one of our own, Erlang would start a daemon that stays.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()

    def variables(self) -> dict[str, str]:
        """Give the variables that make Erlang use this one."""
        return {
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.port),
        }

    def _command(self) -> list[str]:
        return [find_program("epmd", "rabbitmq-server")]

    def _variables(self) -> dict[str, str]:
        return super()._variables() | self.variables()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 2).close()
        except OSError:
            return False
        return True


Rights = tuple[str, str, str]
"""What an account may configure, write, read: regular expressions."""


class RabbitMQ(Server):
    """A RabbitMQ node. Without ``epmd``, it has one of its own.

    With ``joins``, it becomes one of that node's cluster, when it is started
    for the first time; the two need a common ``epmd``.
    """

    settings = ""
    """More lines of rabbitmq.conf."""
    of_vhosts: Mapping[str, Any] = {}
    """What else a virtual host is made with."""

    def __init__(
        self,
        directory: Path,
        name: str = "rabbit",
        epmd: Epmd | None = None,
        *,
        certificate: Path | None = None,
        managed: bool = False,
        joins: "RabbitMQ | None" = None,
    ) -> None:
        """Make a node; with ``certificate`` (PEM, with its key), TLS too.

        One that is ``managed`` has the HTTP API of its management.
        """
        super().__init__(directory)
        self._managed = managed
        self.management_port = free_port()
        self._certificate = certificate
        self._joins = joins
        self.tls_port = free_port()
        self.node = f"{name}@localhost"
        self.port = free_port()
        self._dist_port = free_port()
        self._own_epmd = None if epmd else Epmd(directory / "epmd")
        self._epmd = epmd or self._own_epmd
        self._enter: tuple[str, ...] = ()
        """What lets a program see the files of the node's programs."""
        self._scripts = self._find_scripts()

    def url(self, vhost: str = "/") -> str:
        """Give the node's address as kombu wants it."""
        return f"amqp{self._location(vhost)}"

    def transport_url(self, vhost: str = "/") -> str:
        """Give the node's address as oslo.messaging wants it."""
        return f"rabbit{self._location(vhost)}"

    def take_bodies_of(self, size: int) -> None:
        """Take as long messages as RabbitMQ 3 does; 4 refuses them."""
        self.ctl("eval", f"persistent_term:put(max_message_size, {size}).")

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl, which takes a second; what it prints."""
        return self._run_client(
            self._scripts / "rabbitmqctl", "-s", *arguments
        )

    def _run_client(self, *command: str | Path) -> str:
        done = subprocess.run(
            [*self._enter, *command],
            cwd=self.directory,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise ServerError(
                f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
            )
        return done.stdout

    def grant(self, vhost: str, rights: dict[str, Rights]) -> None:
        """Make a virtual host, and accounts there, all with one call.

        An account's password is its name. `guest` may do everything, for
        whoever tests.
        """
        everything = {"guest": (".*", ".*", ".*")}
        names = ("configure", "write", "read")
        path = self.directory / f"{vhost}.json"
        definitions = {
            "vhosts": [{"name": vhost, **self.of_vhosts}],
            "users": [
                {"name": user, "password": user, "tags": ""} for user in rights
            ],
            "permissions": [
                {"user": user, "vhost": vhost}
                | dict(zip(names, patterns, strict=True))
                for user, patterns in (rights | everything).items()
            ],
        }
        path.write_text(json.dumps(definitions))
        said = self.ask(
            "rabbit_definitions, import_raw, "
            f'[element(2, file:read_file("{path}"))]'
        )
        if said != "ok":
            raise ServerError(f"no rights at {vhost}: {said}")

    def queue_depths(
        self, vhost: str = "/", what: str = "messages"
    ) -> dict[str, int]:
        """Count the messages of each queue that is there, or some of them."""
        listed = self.ask(
            f'rabbit_amqqueue, info_all, [<<"{vhost}">>, [name, {what}]]',
            '[io_lib:format("~ts ~p~n", [N, M]) || '
            "[{name, {resource, _, queue, N}}, {_, M}] <- Said]",
        )
        rows = (line.rpartition(" ") for line in listed.splitlines())
        return {name: int(n) for name, _, n in rows if n.isdigit()}

    def remove(self, vhost: str) -> None:
        """Delete a virtual host, with all that is in it."""
        said = self.ask(f'rabbit_vhost, delete, [<<"{vhost}">>, <<"tests">>]')
        if said != "ok":
            raise ServerError(f"{vhost} stays: {said}")

    def ask(
        self, call: str, text: str = 'io_lib:format("~0p", [Said])'
    ) -> str:
        """Call a function in the node, as rabbitmqctl does in more time.

        ``call`` is module, function, arguments; ``text`` makes output of
        what is Said, both in Erlang.
        """
        name = f"ask{uuid4().hex[:8]}@localhost"
        return self._run_client(
            "erl",
            *("-boot", "start_clean", "-noinput", "-hidden", "-sname", name),
            *("-setcookie", "tests", "-start_epmd", "false"),
            *("+S", "1:1", "+sbwt", "none"),
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            "-eval",
            f"Said = rpc:call('{self.node}', {call}), "
            f"io:put_chars({text}), halt().",
        )

    def stop(self) -> None:
        """Let it end in order, and its own port mapper after it."""
        super().stop()
        if self._own_epmd is not None:
            self._own_epmd.stop()

    def _find_scripts(self) -> Path:
        # Not the program in /usr/sbin, which changes the user.
        for base in ("/usr/lib", "/usr/local/lib", "/opt"):
            found = sorted(Path(base).glob(RABBITMQ_SCRIPTS))
            if found:
                return found[-1].parent
        raise _not_installed("RabbitMQ", "rabbitmq-server")

    def _location(self, vhost: str) -> str:
        return f"://guest:guest@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def _prepare(self) -> None:
        if self._own_epmd is not None:
            self._own_epmd.start()
        plugins = "rabbitmq_management" if self._managed else ""
        (self.directory / "enabled_plugins").write_text(f"[{plugins}].\n")
        cookie = self.directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("tests")
            cookie.chmod(0o400)
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "disk_free_limit.absolute = 50MB\n"
            + self.settings
            + self._tls()
            + self._management()
            + self._cluster()
        )

    def _management(self) -> str:
        if not self._managed:
            return ""
        return (
            "management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self.management_port}\n"
        )

    def _cluster(self) -> str:
        if self._joins is None:
            return ""
        formation = "cluster_formation"
        return (
            f"{formation}.peer_discovery_backend = classic_config\n"
            f"{formation}.classic_config.nodes.1 = {self._joins.node}\n"
            f"{formation}.classic_config.nodes.2 = {self.node}\n"
        )

    def _tls(self) -> str:
        if self._certificate is None:
            return ""
        return (
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"listeners.ssl.3 = ::1:{self.tls_port}\n"
            # Where the certificate's name does not fit.
            f"listeners.ssl.2 = 127.0.0.2:{self.tls_port}\n"
            f"ssl_options.certfile = {self._certificate}\n"
            f"ssl_options.keyfile = {self._certificate}\n"
            "ssl_options.verify = verify_none\n"
        )

    def _command(self) -> list[str]:
        return [*self._enter, str(self._scripts / "rabbitmq-server")]

    def _variables(self) -> dict[str, str]:
        assert self._epmd is not None
        directory = self.directory
        return (
            super()._variables()
            | self._epmd.variables()
            | {
                # The script becomes the Erlang machine instead of watching
                # it: signals, and our parting one, go to the right process.
                "RUNNING_UNDER_SYSTEMD": "true",
                # Nothing of /etc/rabbitmq.
                "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(
                    directory / "none.config"
                ),
                "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(
                    directory / "enabled_plugins"
                ),
                "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "generated"),
                "RABBITMQ_PLUGINS_EXPAND_DIR": str(directory / "plugins"),
                "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
                "RABBITMQ_LOG_BASE": str(directory),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_PID_FILE": str(directory / "pid"),
                "RABBITMQ_NODENAME": self.node,
                "RABBITMQ_DIST_PORT": str(self._dist_port),
                # Few threads, which sleep when there is nothing to do:
                # several nodes share a small machine with the tests.
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
                    " -start_epmd false"
                    " -kernel inet_dist_use_interface {127,0,0,1}"
                ),
                "RABBITMQ_CTL_ERL_ARGS": (
                    "+S 1:1 +sbwt none -start_epmd false"
                ),
            }
        )

    def _answers(self) -> bool:
        try:
            with kombu.Connection(
                self.url(), connect_timeout=within(2)
            ) as connection:
                connection.connect()
        except (OSError, *kombu.Connection(self.url()).connection_errors):
            return False
        return True


class RabbitMQ4(RabbitMQ):
    """A node of Debian 13's release, as strict as 4.3 is by default.

    It runs in a root directory of its own.
    """

    settings = "deprecated_features.permit.transient_nonexcl_queues = false\n"
    of_vhosts: Mapping[str, Any] = {
        "metadata": {"default_queue_type": "quorum"}
    }

    def start(self) -> None:
        """Start it, and return when it answers.

        It ends at once if it looks for transient queues before its own
        tables are there, as it may.
        """
        for _ in range(9):
            try:
                return super().start()
            except ServerError as error:
                if "failed_to_deny_deprecated_features" not in str(error):
                    raise
        return super().start()

    def _find_scripts(self) -> Path:
        root = Root.unpacked("rabbitmq4-env")
        self._enter = root.enter
        found = root.newest(f"usr/lib/{RABBITMQ_SCRIPTS}")
        assert found is not None
        return found.parent


class MariaDB(Server):
    """A MariaDB server, as durable as MariaDB is by default."""

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._options = options
        self._data = directory / "data"
        # Unix sockets cannot have long paths; a test's directory is one.
        self._sockets: Path | None = None

    def url(self, database: str) -> str:
        """Give a database's address as SQLAlchemy wants it."""
        return (
            f"mysql+pymysql://root@127.0.0.1:{self.port}/{database}"
            "?charset=utf8mb4"
        )

    def create_database(self, name: str) -> str:
        """Create an empty database; its URL."""
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return self.url(name)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement as root; the rows that it returns."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def connect(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """Open a session as root."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", autocommit=True
        )

    def follow(self, other: "MariaDB") -> None:
        """Do from now on what another server does."""
        self.execute(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_USER='root', "
            f"MASTER_PORT={other.port}, MASTER_USE_GTID=slave_pos, "
            # Its certificate is of its own making, and root has no password.
            "MASTER_SSL_VERIFY_SERVER_CERT=0"
        )
        self.execute("START SLAVE")

    def let_in(self, user: str) -> None:
        """Make an account, with the password "p", that is like others.

        Root may write where it is read-only, too.
        """
        self.execute(f"CREATE USER {user} IDENTIFIED BY 'p'")
        self.execute(f"GRANT ALL ON *.* TO {user}")
        for right in ("SUPER", "READ_ONLY ADMIN", "CONNECTION ADMIN"):
            self.execute(f"REVOKE {right} ON *.* FROM {user}")

    def keep_a_copy(self) -> None:
        """Copy its data; it is away meanwhile."""
        self.stop()
        shutil.copytree(self._data, self.directory / "copy")
        self.start()

    def lose_what_is_new(self) -> None:
        """Crash, and come back as it was when the copy was made.

        So does one that writes its log once a second, after a power cut.
        """
        self.kill()
        shutil.rmtree(self._data)
        (self.directory / "copy").rename(self._data)
        self.start()

    def kill(self) -> None:
        """End it on the spot (SIGKILL)."""
        super().kill()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    def _variables(self) -> dict[str, str]:
        # A server that starts removes what others have in its TMPDIR.
        return super()._variables() | {"TMPDIR": str(self._sockets)}

    def _prepare(self) -> None:
        self._sockets = Path(tempfile.mkdtemp(prefix="ec2map-", dir="/tmp"))
        if not self._data.exists():
            self._install()

    def _install(self) -> None:
        fresh = self._data.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        with self.log.open("ab") as log:
            done = subprocess.run(
                [
                    *databases().enter,
                    databases().find("mariadb-install-db", "mariadb-server"),
                    "--no-defaults",
                    f"--user={databases().user}",
                    f"--datadir={fresh}",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                ],
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=START_SECONDS,
                check=False,
            )
        if done.returncode:
            raise self._error("could not be given its system tables")
        fresh.rename(self._data)

    def _command(self) -> list[str]:
        return [
            *databases().enter,
            databases().find("mariadbd", "mariadb-server"),
            "--no-defaults",
            f"--user={databases().user}",
            f"--datadir={self._data}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self._sockets}/socket",
            f"--pid-file={self.directory}/pid",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=32M",
            *self._options,
        ]

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except pymysql.OperationalError:
            return False
        return True


class Galera(MariaDB):
    """A node of a cluster: the first one of it, or one that joins.

    It joins those that run when it is started, also again: what it lacks it
    gets from one of them.
    """

    def __init__(
        self, directory: Path, joins: "Galera | None" = None, *options: str
    ) -> None:
        self._cluster: list[Galera] = joins._cluster if joins else []
        self._cluster.append(self)
        self._is_empty = False
        self._group_port = free_port()
        place = f"127.0.0.1:{self._group_port}"
        super().__init__(
            directory,
            "--wsrep-on=ON",
            f"--wsrep-provider={GALERA}",
            f"--wsrep-node-address={place}",
            f"--wsrep-provider-options=gmcast.listen_addr=tcp://{place};"
            f"ist.recv_addr=127.0.0.1:{free_port()};gcache.size=16M",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            *options,
        )

    def forget(self) -> None:
        """Lose all data, while it does not run."""
        shutil.rmtree(self._data)
        self._is_empty = True

    def _command(self) -> list[str]:
        others = ",".join(
            f"127.0.0.1:{node._group_port}"
            for node in self._cluster
            if node.pid is not None
        )
        return [
            *super()._command(),
            f"--wsrep-cluster-address=gcomm://{others}",
            f"--wsrep-start-position={self._recovered()}",
        ]

    def _recovered(self) -> str:
        """Tell how far it had come, as Debian's unit asks before a start.

        A node that was killed has noted it in its tables only.
        """
        state = self._data / "grastate.dat"
        if not state.exists() or not re.search(
            r"seqno: +-1", state.read_text()
        ):
            return NOWHERE
        command = [
            *super()._command(),
            "--wsrep-cluster-address=gcomm://",
            "--wsrep-recover",
        ]
        done = subprocess.run(
            command,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        found = re.search(r"Recovered position: *(\S+)", done.stderr)
        return found[1] if found else NOWHERE

    def start(self) -> None:
        """Start it; of the first node, keep what others begin with.

        Where the others take themselves for the smaller part, for one that
        was killed has forgotten who it was, the first of them goes on.
        """
        try:
            super().start()
        except ServerError as error:
            others = (n for n in self._cluster if n.pid is not None)
            primary = next((n for n in others if n is not self), None)
            if primary is None or "reach primary view" not in str(error):
                raise
            size = "SHOW STATUS LIKE 'wsrep_cluster_size'"
            # Else it would still wait for the one that has just failed.
            wait_until(lambda: primary.execute(size)[0][1] == "1", 30)
            primary.execute(
                "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'"
            )
            super().start()
        copy = self.directory / "copy"
        if self is self._cluster[0] and not copy.exists():
            self.keep_a_copy()

    def _install(self) -> None:
        """Make a node that joins what its cluster was at its beginning.

        So it gets what has changed since, which is quick, and not everything.
        """
        if self._is_empty:
            self._data.mkdir()
        elif self is self._cluster[0]:
            super()._install()
        else:
            shutil.copytree(self._cluster[0].directory / "copy", self._data)

    def _prepare(self) -> None:
        if databases().newest(GALERA.lstrip("/")) is None:
            raise _not_installed("Galera", "galera-4")
        super()._prepare()
        if os.getuid() == 0:
            # rsync writes what a new node gets as nobody, if root runs it.
            for path in (self._data, *self._data.rglob("*")):
                shutil.chown(path, "nobody")

    def _answers(self) -> bool:
        ready = "SHOW STATUS WHERE Variable_name = 'wsrep_ready'"
        return super()._answers() and self.execute(ready)[0][1] == "ON"


class PostgreSQL(Server):
    """A PostgreSQL server, as durable as PostgreSQL is by default.

    It refuses to run as root, and runs as nobody then.
    """

    stop_signal = signal.SIGINT  # SIGTERM would wait for every client

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._programs = self._find_programs()
        # Nobody cannot enter the directories of a test run by root.
        self._place: Path | None = None

    def url(self, database: str) -> str:
        """Give a database's address as SQLAlchemy wants it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database, which sorts as the Danes do; its URL.

        They sort "aa" behind "z": what has to be in the order of bytes is
        not so by chance.
        """
        self.execute(
            f'CREATE DATABASE "{name}" TEMPLATE template0 ENCODING UTF8 '
            "LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'da'"
        )
        return self.url(name)

    def execute(
        self, statement: str, database: str = "postgres"
    ) -> list[tuple[object, ...]]:
        """Run a statement as the superuser; the rows that it returns."""
        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname=database,
            autocommit=True,
            connect_timeout=int(within(2)),
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """End it on the spot (SIGKILL), and the processes of its clients.

        They have process groups of their own, and while they end by
        themselves they keep a successor from starting.
        """
        children = _children(self._process.pid) if self._process else []
        super().kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        wait_until(lambda: not any(map(_is_alive, children)), 60)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_signal = signal.SIGQUIT  # no last write of what goes now
        super().__exit__(kind, error, trace)
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)

    @staticmethod
    def _find_programs() -> Path:
        found = databases().newest(POSTGRESQL_PROGRAMS)
        if found is None:
            raise _not_installed("PostgreSQL", "postgresql")
        return found.parent

    def _prepare(self) -> None:
        if self._place is None:
            self._place = Path(tempfile.mkdtemp(prefix="ec2map-", dir="/tmp"))
            if os.getuid() == 0:
                shutil.chown(self._place, "nobody")
        if not (self._place / "data").exists():
            self._install(self._place)

    def _install(self, place: Path) -> None:
        self._fill(
            place,
            "initdb",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        )

    def _fill(self, place: Path, program: str, *arguments: str) -> None:
        """Let a program of PostgreSQL's make the files of a server."""
        with self.log.open("ab") as log:
            done = subprocess.run(
                [
                    *databases().enter,
                    *_as_nobody(databases()),
                    self._programs / program,
                    f"--pgdata={place}/data",
                    "--username=postgres",
                    "--no-sync",
                    *arguments,
                ],
                cwd=place,
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=START_SECONDS,
                check=False,
            )
        if done.returncode:
            raise self._error(f"got no files: {program} has failed")

    def _command(self) -> list[str]:
        return [
            *databases().enter,
            *_as_nobody(databases()),
            str(self._programs / "postgres"),
            f"-D{self._place}/data",
            f"-p{self.port}",
            "-clisten_addresses=127.0.0.1",
            "-cunix_socket_directories=",
            "-cmax_connections=200",
            "-cshared_buffers=32MB",
        ]

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


class Standby(PostgreSQL):
    """A copy of a PostgreSQL server, which follows it until promoted."""

    def __init__(self, directory: Path, primary: PostgreSQL) -> None:
        super().__init__(directory)
        self._primary = primary

    def promote(self) -> None:
        """Let it follow nobody, and take writes."""
        self.execute("SELECT pg_promote()")

    def _install(self, place: Path) -> None:
        self._fill(
            place,
            "pg_basebackup",
            "--host=127.0.0.1",
            f"--port={self._primary.port}",
            "--write-recovery-conf",
            "--checkpoint=fast",
        )


class HAProxy(Server):
    """What stands in front of two databases: the second one is a backup.

    As kolla, OpenStack-Ansible and others have it; who loses his server is
    cut off, unless an operator takes it out.
    """

    def __init__(self, directory: Path, *servers: MariaDB) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._servers = servers
        self._place: Path | None = None

    def kill(self) -> None:
        """End it on the spot (SIGKILL)."""
        super().kill()
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None

    def take_out(self, server: MariaDB) -> None:
        """Send nobody there any more; who is there stays."""
        self._set(server, "drain")

    def cut_off(self, server: MariaDB) -> None:
        """Send nobody there any more, and end the sessions that are."""
        self._set(server, "maint")

    def _set(self, server: MariaDB, state: str) -> None:
        name = f"databases/s{self._servers.index(server)}"
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(f"{self._place}/stats")
            link.sendall(f"set server {name} state {state}\n".encode())
            if answer := link.recv(1000).strip():
                raise ServerError(answer.decode())

    def _prepare(self) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="ec2map-", dir="/tmp"))
        lines = [
            f"server s{n} 127.0.0.1:{server.port} check inter 200 fall 2 "
            f"rise 1 on-marked-down shutdown-sessions{' backup' * (n > 0)}"
            for n, server in enumerate(self._servers)
        ]
        (self._place / "haproxy.cfg").write_text(
            "global\n"
            f"stats socket {self._place}/stats level admin\n"
            "defaults\n"
            "mode tcp\n"
            "timeout connect 2s\n"
            "timeout client 1h\n"
            "timeout server 1h\n"
            "listen databases\n"
            f"bind 127.0.0.1:{self.port}\n" + "\n".join(lines) + "\n"
        )

    def _command(self) -> list[str]:
        program = find_program("haproxy", "haproxy")
        return [program, "-db", "-f", f"{self._place}/haproxy.cfg"]

    def _answers(self) -> bool:
        try:
            pymysql.connect(
                host="127.0.0.1", port=self.port, user="root"
            ).close()
        except pymysql.OperationalError:
            return False
        return True


class PgBouncer(Server):
    """A pooler before a PostgreSQL; transactions share a few sessions."""

    stop_signal = signal.SIGINT  # when no transaction is open

    def __init__(
        self, directory: Path, postgresql: PostgreSQL, sessions: int = 4
    ) -> None:
        """Make a pooler with so many sessions for each database."""
        super().__init__(directory)
        self.port = free_port()
        self._postgresql = postgresql
        self._sessions = sessions
        self._place: Path | None = None

    def url(self, database: str) -> str:
        """Give a database's address, by way of here."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def kill(self) -> None:
        """End it on the spot (SIGKILL)."""
        super().kill()
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None

    def _prepare(self) -> None:
        # Nobody, as whom it runs, cannot enter a directory of root's.
        self._place = Path(tempfile.mkdtemp(prefix="ec2map-", dir="/tmp"))
        self._place.chmod(0o755)
        (self._place / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={self._postgresql.port} user=postgres\n"
            "[pgbouncer]\n"
            "listen_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\n"
            "unix_socket_dir =\n"
            "auth_type = any\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {self._sessions}\n"
        )

    def _command(self) -> list[str]:
        return [
            *_as_nobody(),
            find_program("pgbouncer", "pgbouncer"),
            f"{self._place}/pgbouncer.ini",
        ]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


class Memcached(Server):
    """A memcached server; what it held is gone when it ends."""

    def __init__(
        self, directory: Path, certificate: Path | None = None
    ) -> None:
        """Make a server; with ``certificate`` (PEM, with its key), TLS only.

        Whoever connects has to show the same one then.
        """
        super().__init__(directory)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._certificate = certificate

    def put(self, key: str, value: bytes) -> None:
        """Make it hold something."""
        self._ask(
            b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), len(value), value),
            b"STORED",
        )

    def holds(self, key: str) -> bool:
        """Tell whether there is something under a key."""
        said = self._ask(b"get %s\r\n" % key.encode(), b"END")
        return said.startswith(b"VALUE")

    def commands(self, name: str) -> int:
        """Count the commands of a kind so far, as its own figures do."""
        said = self._ask(b"stats\r\n", b"END").decode()
        found = dict(
            line.split()[1:3]
            for line in said.splitlines()
            if line.startswith("STAT ")
        )
        return int(found[f"{name}_hits"]) + int(found[f"{name}_misses"])

    def _ask(self, line: bytes, end: bytes) -> bytes:
        address = ("127.0.0.1", self.port)
        with (
            socket.create_connection(address, within(5)) as plain,
            self._wrapped(plain) as connection,
        ):
            connection.sendall(line)
            said = b""
            while not said.endswith(end + b"\r\n"):
                more = connection.recv(65536)
                if not more:
                    raise self._error(f"said {said!r}")
                said += more
        return said

    def _wrapped(self, plain: socket.socket) -> socket.socket:
        if self._certificate is None:
            return plain
        context = ssl.create_default_context(cafile=self._certificate)
        context.load_cert_chain(self._certificate)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def _command(self) -> list[str]:
        program = find_program("memcached", "memcached")
        where = ["-l", "127.0.0.1", "-p", str(self.port)]
        if self._certificate:
            pem = self._certificate
            where += ["-Z", "-o", f"ssl_chain_cert={pem},ssl_key={pem}"]
            where += ["-o", f"ssl_ca_cert={pem},ssl_verify_mode=2"]
        return [program, *where, "-u", getpass.getuser()]

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return b"STAT" in self._ask(b"stats\r\n", b"END")
        return False


def _as_nobody(root: Root | None = None) -> list[str]:
    """Give what runs a program as anybody but root."""
    if os.getuid():
        if root is None or not root.enter:
            return []
        # Whoever enters is root there.
        ids = ["--map-user=65534", "--map-group=65534"]
        return ["unshare", "--user", *ids, "setpriv", "--pdeathsig=KILL"]
    return [
        find_program("setpriv", "util-linux"),
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        # A change of the user has undone the one before.
        "--pdeathsig=KILL",
    ]


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in found.split()]
    return []


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return not state.startswith(" Z")


@contextlib.contextmanager
def replicated(directory: Path) -> Iterator[tuple[MariaDB, MariaDB]]:
    """Run a server, and one that follows it."""
    logging = ("--log-bin=log", "--binlog-format=ROW")
    with (
        MariaDB(directory / "one", "--server-id=1", *logging) as one,
        MariaDB(directory / "two", "--server-id=2", *logging) as two,
    ):
        two.follow(one)
        yield one, two
