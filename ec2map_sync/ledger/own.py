"""What was made here, as the Publisher finds it: each image once."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.known import Known
from ec2map_sync.sql.statements import among, batched, insert

_own = tables.own_claims


def write_own(
    connection: Connection,
    revision: int,
    known: Mapping[str, Known],
    after: Mapping[str, Known],
) -> None:
    """Lets images be found at a revision, if their news was made here.

    And no more where they were ``known`` to be.
    """
    images = sorted(
        image for image, new in after.items() if new.own_revision == revision
    )
    before = {
        image: old.own_revision
        for image in images
        if (old := known.get(image)) and old.own_revision is not None
    }
    for some in batched(before):
        connection.execute(
            sa.delete(_own).where(
                among(_own.c.revision, sorted({before[i] for i in some})),
                among(_own.c.image, some),
            )
        )
    rows = [(revision, image) for image in images]
    insert(connection, list(_own.c), rows)
