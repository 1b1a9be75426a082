"""How this region's own Glance spells an image."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"

_IMAGE = (
    sa.String(36)
    .with_variant(
        mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"),
        "mysql",
        "mariadb",
    )
    .with_variant(sa.String(36, collation="C"), "postgresql")
)


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    there = sa.inspect(op.get_bind()).get_columns("claims")
    if "spelled" not in {one["name"] for one in there}:
        op.add_column(
            "claims",
            sa.Column("spelled", _IMAGE, nullable=False, server_default=""),
        )
    # What was claimed here was spelled as Glance here does; of the rest,
    # the next audit of Glance tells.
    op.execute(
        "UPDATE claims SET spelled = "
        "CASE WHEN spelling = '' THEN image ELSE spelling END "
        "WHERE own_revision IS NOT NULL"
    )
