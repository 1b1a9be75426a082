"""The judge: Nova's own lookup, in a fresh process in every cell."""

from collections.abc import Collection

from cloud import Cloud, CloudRegion

from ec2map_sync.rules.ec2id import ON_DEMAND, Kind, Scheme, format_id

SCHEME = Scheme(b"tests")
"""That of the fleet's configuration."""


def on_demand(region: CloudRegion, cell: str) -> int:
    """Count the rows that Nova has made because there was none."""
    found = region.sql(
        cell, f"SELECT COUNT(*) FROM s3_images WHERE id >= {ON_DEMAND.first}"
    )
    return int(str(found[0][0]))


def seen_in(
    region: CloudRegion, cell: str, images: Collection[str], kind: str = "ami"
) -> list[str]:
    """Give the EC2 ids that Nova finds in a cell, and makes no row for."""
    before = on_demand(region, cell)
    with region.nova.process(cell) as nova:
        found = nova.look_up(images, kind)
    assert on_demand(region, cell) == before, f"{region.name} {cell}"
    return found


def seen_everywhere(
    cloud: Cloud, images: Collection[str], kind: str = "ami"
) -> list[str]:
    """Give the EC2 ids of images, the same in every cell of both regions."""
    seen = {
        (region.name, cell): seen_in(region, cell, images, kind)
        for region in cloud.regions
        for cell in region.cells
    }
    first, *others = seen.values()
    assert all(other == first for other in others), seen
    return first


def derived(image: str, kind: str = "ami") -> str:
    """Give the id that the UUID alone gives."""
    return format_id(SCHEME.derive(image.lower()), Kind(kind))
