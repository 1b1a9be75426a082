"""The cloud of the tests, to be looked at: tools/lab runs this.

    lab.py DIRECTORY

builds it there, writes into DIRECTORY/ready how to use it, and takes it down
when it is told to end.
"""

import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from cloud import Cloud, CloudRegion, built  # noqa: E402
from commands import BIN  # noqa: E402
from fleet import await_reading, running  # noqa: E402
from glance_api import TOKEN  # noqa: E402

READY = """\
Two regions are up. Upload an image in one:

  export OS_CLIENT_CONFIG_FILE={directory}/clouds.yaml
  {openstack} --os-cloud RegionOne image create \\
      --container-format bare --disk-format raw --file /etc/hostname hello

Watch it come:

{watch}
See its row in a cell, the same in every one:

{cells}
What happens is in the logs:

{logs}
"tools/lab down" ends all of it, and leaves nothing.
"""

CLOUD = """\
  {name}:
    auth_type: admin_token
    auth: {{endpoint: "{url}", token: {token}}}
    image_endpoint_override: "{url}"
"""


def watch(region: CloudRegion) -> str:
    """Give the command that shows what a region's agent does."""
    program = BIN / "ec2map-sync"
    return f"  {program} status --watch 1 --config-file {region.config_file}\n"


def cells(region: CloudRegion) -> str:
    """Give the commands that show the rows of a region's cells."""
    return "".join(
        "  mariadb --no-defaults --host=127.0.0.1 --user=root"
        f" --port={region.mariadb.port} --execute='SELECT * FROM s3_images'"
        f" {region.database(cell)}\n"
        for cell in region.cells
    )


def logs(region: CloudRegion) -> str:
    """Name the logs of a region."""
    glance = region.images.directory / "glance.log"
    return f"  {region.log_file}\n  {glance}\n"


def describe(cloud: Cloud, directory: Path) -> None:
    """Write how to use the cloud."""
    entries = [
        CLOUD.format(name=region.name, url=region.images.url, token=TOKEN)
        for region in cloud.regions
    ]
    clouds = "clouds:\n" + "".join(entries)
    (directory / "clouds.yaml").write_text(clouds)
    text = READY.format(
        directory=directory,
        openstack=cloud.one.images.programs.path("openstack"),
        watch="".join(map(watch, cloud.regions)),
        cells="".join(map(cells, cloud.regions)),
        logs="".join(map(logs, cloud.regions)),
    )
    fresh = directory / "ready.new"
    fresh.write_text(text)
    fresh.rename(directory / "ready")


def main(directory: Path) -> None:
    """Be a cloud until told to end."""
    os.setsid()  # what ends the terminal does not end the cloud
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with built(directory / "cloud") as cloud, running(*cloud.regions):
        for region in cloud.regions:
            region.images.create(name="first")  # Glance's exchange is there
        await_reading(cloud.one, cloud.two)
        await_reading(cloud.two, cloud.one)
        describe(cloud, directory)
        while True:
            signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
