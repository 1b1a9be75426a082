"""Which numbers images have lost by claims of which peer, to be counted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

_IMAGE = (
    sa.String(36)
    .with_variant(
        mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"),
        "mysql",
        "mariadb",
    )
    .with_variant(sa.String(36, collation="C"), "postgresql")
)
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    there = sa.inspect(op.get_bind())
    if there.has_table("evictions"):
        return
    op.create_table(
        "evictions",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("peer", sa.String(64), nullable=False),
        sa.Column("image", _IMAGE, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Index("evictions_by_peer", "peer", "at"),
        comment="Numbers that images have lost by claims of a peer.",
    )
