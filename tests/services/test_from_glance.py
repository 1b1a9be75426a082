"""What comes out of `config from-glance` works, tool by tool, unedited.

Glance's part is oslo.messaging's own Notifier, which reads the very file that
the command has read. Only hosts, accounts and files in it are others.
"""

import json
import re
import subprocess
import sys
from uuid import uuid4

import pytest
import schemas
import sqlalchemy as sa
from certificates import make_certificate
from commands import run
from fleet import Region, create_envelope, running
from patience import within
from servers import Memcached, RabbitMQ

pytestmark = pytest.mark.services

TOOLS = {
    # Glance's files, as they are read, and what happens to the first image.
    "kolla-ansible": (["glance-api.conf"], "waits for us"),
    "openstack-ansible": (["glance-api.conf"], "is gone before"),
    "openstack-helm": (["glance-api.conf"], "is gone before"),
    "rhoso": (["00-config.conf", "01-notifications.conf"], "is gone before"),
    "sunbeam": (["glance-api.conf"], "is gone before"),
    "devstack": (["glance-api.conf"], "waits for us"),
}

NOTIFY = """
import json, sys
import oslo_messaging
from oslo_config import cfg

oslo_messaging.set_transport_defaults("glance")
conf = cfg.ConfigOpts()
conf([], default_config_files=sys.argv[1:])
oslo_messaging.Notifier(
    oslo_messaging.get_notification_transport(conf), "image.localhost"
).info({}, "image.create", json.load(sys.stdin))
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("from-glance")


@pytest.fixture(scope="module")
def certificate(directory):
    return make_certificate(directory / "own.pem", "127.0.0.1")


@pytest.fixture(scope="module")
def broker(directory, epmd, certificate):
    with RabbitMQ(
        directory / "tls", "clouds", epmd, certificate=certificate
    ) as server:
        yield server


@pytest.fixture(scope="module")
def memcached(directory):
    with Memcached(directory / "memcached") as server:
        yield server


class Cloud:
    """A tool's files on this machine, and a region beside them."""

    def __init__(self, files, region, certificate, api, memcached):
        self.region = region
        self._certificate = certificate
        self._api = api
        self._memcached = memcached.address
        moved = [self._moved(file) for file in files]
        *self.glance, self.nova = moved
        self._list_cells()

    def _moved(self, file):
        text = file.read_text()
        text = re.sub(r"rabbit://(\S+)", self._at_home, text)
        for section, url in (
            ("api_database", self._api),
            ("database", self.region.mariadb.url("nova")),
        ):
            text = re.sub(
                rf"(\[{section}\]\nconnection = )\S+", rf"\g<1>{url}", text
            )
        text = re.sub(r"(ssl_\w+_file = )\S+", rf"\1{self._certificate}", text)
        text = re.sub(r"(\nmemcache_servers = ).*", "", text)
        text = text.replace(
            "[cache]\n", f"[cache]\nmemcache_servers = {self._memcached}\n"
        )
        moved = self.region.directory / file.name
        moved.write_text(text)
        return str(moved)

    def _at_home(self, found):
        _, _, query = found[1].partition("?")
        secure = ":5671" in found[1]
        rabbit = self.region.rabbit
        port = rabbit.tls_port if secure else rabbit.port
        # A container has its CA among those that the system trusts.
        if secure and "ssl_ca_file" not in query and "ssl=1" in query:
            query += f"&ssl_ca_file={self._certificate}"
        query = re.sub(
            r"ssl_ca_file=[^&]+", f"ssl_ca_file={self._certificate}", query
        )
        url = f"rabbit://guest:guest@127.0.0.1:{port}/{self.region.vhost}"
        return f"{url}?{query}" if query else url

    def _list_cells(self):
        engine = sa.create_engine(self._api)
        schemas.create(engine, schemas.CELL_MAPPINGS)
        with engine.begin() as connection:
            for name, url in self.region.cells.items():
                connection.execute(
                    sa.insert(schemas.CELL_MAPPINGS).values(
                        uuid=name, name=name, database_connection=url
                    )
                )
        engine.dispose()

    def create(self):
        """Announce an image, as Glance so configured does."""
        image = str(uuid4())
        envelope = json.loads(create_envelope(image))
        payload = json.loads(envelope["oslo.message"])["payload"]
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", NOTIFY, *self.glance],
            input=json.dumps(payload),
            text=True,
            check=True,
            timeout=within(60),
        )
        return image

    def configure(self):
        """Write what the command prints, and what only we can know."""
        done = run("config", "from-glance", *self.glance, "--nova", self.nova)
        assert done.code == 0, done
        self.region.config_file.write_text(
            f"{done.stdout}\n[DEFAULT]\nregion = RegionOne\n"
            f"state_path = {self.region.directory}\n"
            f"[ledger]\nconnection = {self.region.ledger}\n"
        )
        self.region.command("db", "upgrade")


@pytest.fixture
def cloud_of(request, broker, mariadb, directory, certificate):
    def make(tool):
        place = directory / tool
        place.mkdir()
        clouds = request.config.rootpath / "tests/data/clouds"
        names, _ = TOOLS[tool]
        region = Region("RegionOne", broker, mariadb, place)
        return Cloud(
            [clouds / tool / name for name in [*names, "nova.conf"]],
            region,
            certificate,
            mariadb.create_database(f"{region.vhost}_api"),
            request.getfixturevalue("memcached"),
        )

    return make


@pytest.mark.parametrize(
    "tool",
    [
        tool
        if tool in {"kolla-ansible", "rhoso", "devstack"}
        else pytest.param(tool, marks=pytest.mark.long)
        for tool in TOOLS
    ],
)
def test_an_image_that_is_announced_so_gets_its_rows(cloud_of, tool):
    cloud = cloud_of(tool)
    images = [cloud.create()]  # with it, Glance makes its exchange
    cloud.configure()

    with running(cloud.region):
        cloud.region.await_log("listening on exchange glance")
        images.append(cloud.create())
        if TOOLS[tool][1] == "is gone before":
            del images[0]
        cloud.region.await_images(images)
        checked = json.loads(
            cloud.region.command("config", "check", "-f", "json")
        )
    results = {line["check"]: line["result"] for line in checked}
    assert results["Glance's exchange"].startswith("ok")
    assert results["Glance's notifications"].startswith("ok")
