"""A cloud of two regions: OpenStack's own Glance and Nova, and our agents.

Each region has a RabbitMQ, a MariaDB, a Glance that notifies, Nova's
databases for cell0, cell1 and cell2, and the agent, started as users start
it. No Keystone and no compute service are needed: Glance takes whoever brings
a token for an administrator, and instances are created by Nova's own code.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from fleet import Region
from glance_api import TOKEN, Glance
from installed import Programs, Schemas
from nova_processes import Nova
from patience import wait_until
from servers import Epmd, MariaDB, RabbitMQ

UNWATCHED = "unwatched"
"""A cell of RegionOne that its agent is not told of: Nova, left alone."""


class CloudRegion(Region):
    """A region with a Glance and a Nova of its own."""

    cell_names = ("cell0", "cell1", "cell2")
    # The topic's queues, or the pool's, bear the name of the bus's.
    own_rights = (r"^(glance|ec2map_sync(\..*)?)$",) * 3

    def __init__(
        self, name: str, directory: Path, programs: Programs, epmd: Epmd
    ) -> None:
        directory.mkdir(parents=True)
        self.servers = ExitStack()
        rabbit = RabbitMQ(directory / "rabbitmq", name.lower(), epmd)
        mariadb = MariaDB(directory / "mariadb")
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.servers.enter_context, (rabbit, mariadb)))
        self.images = Glance(directory / "glance", programs)
        self.nova = Nova(directory / "nova", programs)
        self.api_database = mariadb.create_database("nova_api")
        super().__init__(name, rabbit, mariadb, directory)

    def database(self, cell: str) -> str:
        """Name the database of a cell."""
        return str(sa.make_url(self.cells[cell]).database)

    def make_tables(self) -> None:
        """Make the tables of Glance and Nova, and register the cells."""
        glance = self.mariadb.create_database("glance")
        broker = self.rabbit.transport_url(self.vhost)
        self.images.configure(broker, glance)
        self.nova.configure(broker, self.api_database, self.cells["cell0"])
        schemas = Schemas(self.mariadb, self.nova.programs)
        manage = self.nova.manage
        schemas.make(
            glance, "glance", lambda: self.images.manage("db", "sync")
        )
        schemas.make(
            self.api_database, "nova_api", lambda: manage("api_db", "sync")
        )
        known = self.cells | self._unwatched()
        for database in known.values():
            schemas.make(
                database,
                "nova",
                lambda: manage("db", "sync", "--local_cell"),
            )
        self.servers.enter_context(self.nova)
        with self.nova.process() as process:
            process.ask("register", cells=known, broker=broker)

    def _unwatched(self) -> dict[str, str]:
        """Give the region that names its cells one that it does not name."""
        if self.name == "RegionTwo":
            return {}
        return {UNWATCHED: self.mariadb.create_database(UNWATCHED)}

    def nova_sections(self) -> str:
        """Let one region name its cells, and the other discover them."""
        if self.name == "RegionOne":
            return super().nova_sections()
        return f"[nova]\napi_connection = {self.api_database}\n"

    def listens(self) -> str:
        """Let one region have its topic, the other share one by a pool."""
        if self.name == "RegionOne":
            return "[notifications]\ntopics = ec2map_sync\n"
        return "[notifications]\npool = ec2map_sync\n"

    def audits(self) -> str:
        """Let the agent look often for what Glance could not announce."""
        return (
            f"[glance]\nendpoint_override = {self.images.url}\n"
            f"auth_type = admin_token\nendpoint = {self.images.url}\n"
            f"token = {TOKEN}\n"
            "poll_interval = 2\n"
        )

    def find_divergence(self, image: str) -> str:
        """Let the agent look at every row once it knows of an image.

        A sweep that is over before the image is claimed says nothing of it,
        and the next one is minutes later. What is listed then.
        """
        self.await_images([image])
        self.stop()
        self.start()

        def listed() -> str:
            return str(self.command("divergence", "list"))

        wait_until(lambda: image in listed(), 30)
        return listed()


@dataclass(frozen=True)
class Cloud:
    """Two regions that are each other's peers."""

    one: CloudRegion
    two: CloudRegion

    @property
    def regions(self) -> tuple[CloudRegion, CloudRegion]:
        """Both."""
        return self.one, self.two


@contextmanager
def built(directory: Path) -> Iterator[Cloud]:
    """Build a cloud, all but the agents; take it down at the end."""
    programs = Programs.installed()
    with ExitStack() as stack:
        epmd = stack.enter_context(Epmd(directory / "epmd"))
        regions = []
        for name in ("RegionOne", "RegionTwo"):
            region = CloudRegion(name, directory / name, programs, epmd)
            stack.callback(region.servers.close)
            stack.callback(region.kill)
            regions.append(region)
        cloud = Cloud(*regions)
        catalog = [_image_service(*cloud.regions)]
        for region, peer in zip(regions, reversed(regions), strict=True):
            region.images.catalog = catalog
            region.servers.enter_context(region.images)
            region.configure(peer, extra=region.listens() + region.audits())
        yield cloud


def _image_service(*regions: CloudRegion) -> dict[str, object]:
    return {
        "type": "image",
        "name": "glance",
        "endpoints": [
            {"region": region.name, "publicURL": region.images.url}
            for region in regions
        ],
    }
