"""Rows of others that have given way to what is settled, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    there = sa.inspect(op.get_bind())
    if there.has_table("replaced"):
        return
    op.create_table(
        "replaced",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("sink", sa.String(120), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("image", sa.String(36), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Index("replaced_by_image", "image", "sink"),
        comment="Rows that guests have seen before ours took their place.",
    )
