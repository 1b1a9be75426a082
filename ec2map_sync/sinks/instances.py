"""The instances of a Nova cell, as far as they carry EC2 ids of images."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

# The columns of Nova 34 that are read here; others hold secrets of users.
instances = sa.Table(
    "instances",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36)),
    sa.Column("project_id", sa.String(255)),
    sa.Column("image_ref", sa.String(255)),
    sa.Column("kernel_id", sa.String(255)),
    sa.Column("ramdisk_id", sa.String(255)),
    sa.Column("config_drive", sa.String(255)),
    sa.Column("created_at", sa.DateTime),
    sa.Column("launched_at", sa.DateTime),
    sa.Column("deleted", sa.Integer),
)

READ = ", ".join(column.name for column in instances.c)
"""The columns, as a GRANT names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance that is not deleted."""

    id: int
    uuid: str
    project: str | None
    images: tuple[str, ...]
    """Its image, kernel and ramdisk, those that it has."""
    has_config_drive: bool
    """Whether it has the ids of its first boot for ever."""
    booted_at: datetime | None
    """When it was booted, or created if that is not known."""


def page(
    engine: Engine, after: int, limit: int, image: str | None = None
) -> list[Instance]:
    """Reads the first living instances whose id is above ``after``.

    Of one image, if one is given; that has no index.
    """
    i = instances.c
    statement = (
        sa.select(instances)
        .where(i.id > after, i.deleted == 0)
        .order_by(i.id)
        .limit(limit)
    )
    if image is not None:
        places = (i.image_ref, i.kernel_id, i.ramdisk_id)
        statement = statement.where(sa.or_(*(p == image for p in places)))
    with engine.connect() as connection:
        return [
            Instance(
                id=row.id,
                uuid=row.uuid,
                project=row.project_id,
                images=tuple(
                    filter(
                        None, (row.image_ref, row.kernel_id, row.ramdisk_id)
                    )
                ),
                has_config_drive=bool(row.config_drive),
                booted_at=row.launched_at or row.created_at,
            )
            for row in connection.execute(statement)
        ]


def is_denied(error: Exception) -> bool:
    """Returns whether a database says that a right is missing."""
    # Each has its own code for it, all have this word.
    return isinstance(error, DBAPIError) and "denied" in str(error.orig)


def grant(engine: Engine) -> str:
    """Returns what gives the right to read them."""
    url = engine.url
    where = instances.name
    if url.get_backend_name() == "mysql":
        where = f"{url.database}.{where}"
    return f"GRANT SELECT ({READ}) ON {where} TO {url.username}"


def require(engine: Engine) -> None:
    """Reads nothing of the table, which needs the right to.

    :raises sqlalchemy.exc.SQLAlchemyError: it may not be read.
    """
    with engine.connect() as connection:
        connection.execute(sa.select(instances).where(sa.false()))
