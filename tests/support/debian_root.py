"""A Debian in a directory: to install into, and to boot (as root)."""

import platform
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from fleet import Glance
from patience import wait_until, within
from scraping import get
from servers import RabbitMQ, Server, find_program, free_port
from small_cell import CREATE

TREE = Path(__file__).parents[2]
ACCOUNT = "ec2map-sync"
UNIT = "ec2map-sync-agent"
CONFIGURATION = "etc/ec2map-sync/ec2map-sync.conf"
STATE = "var/lib/ec2map-sync"

NEXT = "999rc1"
"""A version that is not yet a release."""

# With processes, devices and shared memory to be seen, as everywhere.
ENTER = """
cd "$0"
mount --rbind /dev dev
mount -t proc proc proc
exec chroot . "$@"
"""
NAMESPACES = ("--mount", "--uts", "--ipc", "--pid", "--root", "--wd")

# dpkg's own, homes, caches, logs, locks, and accounts as they were before.
OTHERS = "/(var/(lib/dpkg|cache|log)|root|run|tmp|etc/[a-z]+-)"

# Packages start nothing here, as where there is no systemd.
POLICY = "#!/bin/sh\nexit 101\n"


def dependencies(package: Path) -> list[str]:
    """Name what a package needs, without the versions."""
    told = subprocess.run(
        ["dpkg-deb", "--field", package, "Depends"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [each.split()[0] for each in told.stdout.split(",")]


def _mirror() -> str:
    """Give the mirror that this machine has its packages from."""
    told = subprocess.run(
        ["sh", "-ec", ". tools/lib.sh; find_mirror"],
        check=True,
        capture_output=True,
        text=True,
        cwd=TREE,
    )
    return told.stdout.strip()


class Root:
    """The directory; programs run in it as in a machine that is up."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @classmethod
    def made(cls, place: Path, packages: list[str]) -> "Root":
        """Make a minimal one of this machine's release, with some packages."""
        release = platform.freedesktop_os_release()["VERSION_CODENAME"]
        subprocess.run(
            [
                find_program("mmdebstrap", "mmdebstrap"),
                "--quiet",
                "--variant=minbase",
                f"--include={','.join(packages)}",
                release,
                place,
                f"deb {_mirror()} {release} main",
            ],
            check=True,
        )
        policy = place / "usr/sbin/policy-rc.d"
        policy.write_text(POLICY)
        policy.chmod(0o755)
        return cls(place)

    def copied(self, place: Path) -> Path:
        """Copy it."""
        subprocess.run(["cp", "-a", self.place, place], check=True)
        return place

    def entering(self, *command: str, account: str = "") -> list[str]:
        """Give the command that runs another one in it."""
        unshare = find_program("unshare", "util-linux")
        enter = [unshare, "--mount", "sh", "-ec", ENTER, str(self.place)]
        return [*enter, *self._as(account), *command]

    def run(self, *command: str, account: str = "", code: int = 0) -> str:
        """Run a command, which ends with a code; what it printed."""
        done = subprocess.run(
            self.entering(*command, account=account),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=within(120),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == code, done
        return done.stdout

    def install(self, package: Path) -> None:
        """Install a package, whose dependencies are there."""
        shutil.copy(package, self.place / "root")
        self.run("dpkg", "--install", f"/root/{package.name}")
        (self.place / "root" / package.name).unlink()

    def files(self) -> set[str]:
        """List what is in it, but for what others keep there."""
        listed = self.run(
            *("find", "/", "-xdev", "-regextype", "posix-extended"),
            *("-regex", OTHERS, "-prune", "-o", "-print"),
        )
        return set(listed.splitlines())

    def accounts(self) -> list[str]:
        """List the accounts and groups."""
        etc = self.place / "etc"
        return [(etc / name).read_text() for name in ("passwd", "group")]

    def _as(self, account: str) -> list[str]:
        if not account:
            return []
        return [
            *("setpriv", f"--reuid={account}", f"--regid={account}"),
            *("--init-groups", "--pdeathsig=KILL"),
        ]


class Machine(Server, Root):
    """One that is booted, with systemd; its network is this machine's."""

    def __init__(self, directory: Path) -> None:
        Server.__init__(self, directory)
        Root.__init__(self, directory / "root")

    def entering(self, *command: str, account: str = "") -> list[str]:
        """Give the command that runs another one in it."""
        nsenter = find_program("nsenter", "util-linux")
        enter = [nsenter, f"--target={self._first()}", *NAMESPACES, "--"]
        return [*enter, *self._as(account), *command]

    def systemctl(self, *arguments: str, code: int = 0) -> str:
        """Ask systemd."""
        return self.run("systemctl", *arguments, code=code).strip()

    def unit(self, what: str) -> str:
        """Tell a property of the agent's unit."""
        return self.systemctl("show", f"--property={what}", "--value", UNIT)

    def journal(self) -> str:
        """Give what the agent has said."""
        return self.run("journalctl", "--no-pager", f"--unit={UNIT}")

    def stop(self) -> None:
        """End it on the spot: nothing of it is needed again."""
        self.kill()

    def _first(self) -> int | None:
        """Give its first process, as it is called here."""
        found = self.pid
        for _ in ("unshare", "systemd-nspawn"):
            children = Path(f"/proc/{found}/task/{found}/children")
            below = children.read_text().split()
            if not below:
                return None
            found = int(below[0])
        return found

    def _command(self) -> list[str]:
        return [
            find_program("unshare", "util-linux"),
            # What is killed takes all of the machine with it.
            *("--pid", "--fork", "--kill-child", "--mount-proc"),
            find_program("systemd-nspawn", "systemd-container"),
            "--quiet",
            f"--directory={self.place}",
            "--boot",
            "--console=pipe",
            # There need be no systemd outside.
            "--register=no",
            "--keep-unit",
        ]

    def _answers(self) -> bool:
        if self._first() is None:
            return False
        done = subprocess.run(
            self.entering("systemctl", "is-system-running"),
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip() in {"running", "degraded"}


class Installation:
    """The package in a root, configured as its documentation says."""

    def __init__(self, root: Root, rabbit: RabbitMQ, vhost: str) -> None:
        self.root = root
        self.glance = Glance(rabbit, vhost)
        self.port = free_port()
        self._cell = root.place / STATE / "cell1"
        rabbit.grant(vhost, {})
        self.glance.declare()
        self._configure(rabbit, vhost)

    def command(self, *arguments: str) -> str:
        """Run `ec2map-sync …` there, as the agent's user."""
        return self.root.run("ec2map-sync", *arguments, account=ACCOUNT)

    def is_ready(self) -> bool:
        """Tell whether the agent says that it is."""
        try:
            answer = get(f"http://127.0.0.1:{self.port}/readyz")
        except OSError:
            return False
        return answer.status == 200

    def maps_images(self) -> None:
        """Announce some images, and wait until each has its row."""
        wait_until(self.is_ready, 60)
        images = self.glance.create(3)
        wait_until(lambda: images <= self._mapped(), 30)

    def _mapped(self) -> set[str]:
        with closing(sqlite3.connect(self._cell)) as cell:
            found = cell.execute("SELECT uuid FROM s3_images")
            return {uuid for (uuid,) in found}

    def _configure(self, rabbit: RabbitMQ, vhost: str) -> None:
        key = "/etc/ec2map-sync/signing.key"
        self.root.run("ec2map-sync", "key", "generate", key)
        (self.root.place / CONFIGURATION).write_text(
            "[DEFAULT]\nregion = RegionOne\n"
            f"state_path = /{STATE}\n"
            f"transport_url = {rabbit.transport_url(vhost)}\n"
            "[ec2_ids]\nhash_key = tests\n"
            f"[ledger]\nconnection = sqlite:////{STATE}/ledger\n"
            f"[bus]\nurl = {rabbit.url(vhost)}\nsigning_key_file = {key}\n"
            "[nova]\ncells = cell1\n"
            f"[cell:cell1]\nconnection = sqlite:////{STATE}/cell1\n"
            f"[metrics]\nlisten = 127.0.0.1:{self.port}\n"
        )
        self.root.run("chgrp", ACCOUNT, f"/{CONFIGURATION}", key)
        self.root.run("chmod", "640", f"/{CONFIGURATION}", key)
        with closing(sqlite3.connect(self._cell)) as cell, cell:
            cell.execute(CREATE)
        self.root.run("chown", f"{ACCOUNT}:", f"/{STATE}/cell1")
        self.command("db", "upgrade")
