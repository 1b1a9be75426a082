"""The image does in a container what the agent does on a machine."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from fleet import Region, running
from patience import wait_until, within
from scraping import get
from servers import find_program, free_port

pytestmark = pytest.mark.services

MEGABYTE = 1024 * 1024
ASK = "import os; print(os.getuid())"


def blob(image: Path, digest: str) -> Path:
    return image / "oci" / "blobs" / digest.replace(":", "/")


def manifest(image: Path) -> dict:
    index = json.loads((image / "oci" / "index.json").read_text())
    return json.loads(blob(image, index["manifests"][0]["digest"]).read_text())


class ContainedRegion(Region):
    """A region whose agent runs in a container: no root, nothing writable."""

    settings: dict
    bundle: Path
    port: int

    def contain(self, bundle: Path) -> None:
        """Say what is mounted, as a deployment tool would."""
        settings = json.loads((bundle / "config.json").read_text())
        user = settings["process"]["user"]
        for path in [self.directory, *self.directory.iterdir()]:
            os.chown(path, user["uid"], user["gid"])
        self.settings = settings
        self.settings["root"]["readonly"] = True
        self.settings["process"]["terminal"] = False
        self.settings["process"]["capabilities"] = {}
        linux = self.settings["linux"]
        # Brokers and databases are on this machine's loopback.
        linux["namespaces"] = [
            n for n in linux["namespaces"] if n["type"] != "network"
        ]
        linux.pop("resources", None)
        self.settings["mounts"] = [
            m for m in self.settings["mounts"] if m["type"] != "cgroup"
        ]
        self._mount(self.directory, self.directory, "rw")
        self._mount(
            self.config_file, "/etc/ec2map-sync/ec2map-sync.conf", "ro"
        )
        self.bundle = bundle

    def start(self) -> None:
        """Start the container with the image's own command."""
        (self.bundle / "config.json").write_text(json.dumps(self.settings))
        with self.log_file.open("ab") as log:
            self.agent = subprocess.Popen(
                [self._runc, "run", f"--bundle={self.bundle}", self.vhost],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_until(lambda: self.state().get("status") == "running", 20)

    def stop(self) -> int:
        """Send the image's signal to its first process."""
        assert self.agent is not None
        subprocess.run([self._runc, "kill", self.vhost, "TERM"], check=True)
        code = self.agent.wait(within(45))
        self.agent = None
        return code

    def kill(self) -> None:
        """Leave nothing of it."""
        subprocess.run(
            [self._runc, "delete", "--force", self.vhost],
            check=False,
            capture_output=True,
        )
        if self.agent is not None:
            self.agent.wait(within(10))
            self.agent = None

    def run(self, *command: str) -> str:
        """Run a command in the container, as an operator would."""
        done = subprocess.run(
            [self._runc, "exec", self.vhost, *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=within(60),
        )
        assert done.returncode == 0, done
        return done.stdout

    def state(self) -> dict:
        """Give what the runtime knows of the container."""
        done = subprocess.run(
            [self._runc, "state", self.vhost],
            check=False,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def inside(self) -> dict[int, str]:
        """Give the states of the container's processes, as ps has them."""
        first = self.state()["pid"]
        found, waiting = {}, [first]
        while waiting:
            pid = waiting.pop()
            stat = Path(f"/proc/{pid}/stat").read_text()
            found[pid] = stat.rpartition(") ")[2].split()[0]
            for thread in Path(f"/proc/{pid}/task").iterdir():
                children = (thread / "children").read_text().split()
                waiting += [int(child) for child in children]
        return found

    @property
    def _runc(self) -> str:
        return find_program("runc", "runc")

    def _mount(self, source: Path, place: Path | str, mode: str) -> None:
        self.settings["mounts"].append(
            {
                "destination": str(place),
                "type": "bind",
                "source": str(source),
                "options": ["bind", mode],
            }
        )


@pytest.fixture(scope="module")
def region(rabbit_a, mariadb, bundle, tmp_path_factory):
    directory = tmp_path_factory.mktemp("contained")
    region = ContainedRegion("RegionOne", rabbit_a, mariadb, directory)
    region.port = free_port()
    region.configure(extra=f"[metrics]\nlisten = 127.0.0.1:{region.port}\n")
    region.contain(bundle)
    # pytest's directories are for their owner only.
    for parent in directory.parents[:3]:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o711)
    region.glance.declare()
    with running(region):
        yield region


def test_an_image_gets_its_row(region):
    region.await_images(region.glance.create(3))


def test_it_answers_probes(region):
    url = f"http://127.0.0.1:{region.port}"

    wait_until(lambda: get(f"{url}/readyz").status == 200, 60)
    assert get(f"{url}/healthz").text == "ok\n"


def test_the_commands_are_in_it(region):
    config = "/etc/ec2map-sync/ec2map-sync.conf"

    told = region.run("ec2map-sync", "status", "--config-file", config)

    assert "RegionOne" in told


def test_postgresql_can_have_the_ledger(region, postgresql):
    url = postgresql.create_database("contained")
    text = region.config_file.read_text()
    elsewhere = region.directory / "postgresql.conf"
    elsewhere.write_text(text.replace(region.ledger, url))
    elsewhere.chmod(0o644)

    region.run("ec2map-sync", "db", "upgrade", "--config-file", str(elsewhere))

    assert postgresql.execute("SELECT revision FROM head", "contained")


def test_nobody_in_it_is_root_and_nothing_can_be_written(region):
    assert region.run("python3", "-c", ASK) == "42490\n"

    with pytest.raises(AssertionError, match="Read-only file system"):
        region.run("python3", "-c", "open('/usr/it', 'w')")


def test_a_service_that_is_killed_leaves_no_zombie(region):
    first = region.state()["pid"]
    services = set(region.inside()) - {first}
    killed = min(services)

    os.kill(killed, 9)

    wait_until(lambda: killed not in region.inside(), 30)
    wait_until(lambda: len(region.inside()) > len(services), 30)
    assert "Z" not in region.inside().values()


def test_its_signal_ends_it_with_0_in_time(region, image):
    described = blob(image, manifest(image)["config"]["digest"]).read_text()
    assert json.loads(described)["config"]["StopSignal"] == "SIGTERM"

    assert region.stop() == 0


def test_it_is_small(image):
    size = sum(layer["size"] for layer in manifest(image)["layers"])

    assert size <= 150 * MEGABYTE


def test_it_says_what_it_is_made_of(image, bundle):
    bill = json.loads((image / "bom.cdx.json").read_text())
    inside = bundle / "rootfs/usr/local/share/bom.cdx.json"

    urls = {part["purl"].partition("@")[0] for part in bill["components"]}

    assert json.loads(inside.read_text()) == bill
    assert urls >= {
        "pkg:deb/debian/libc6",
        "pkg:pypi/ec2map-sync",
        "pkg:pypi/oslo.messaging",
        "pkg:pypi/kombu",
    }
