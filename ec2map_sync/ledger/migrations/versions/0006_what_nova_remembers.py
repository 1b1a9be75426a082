"""Images of which Nova's memo is to be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    there = sa.inspect(op.get_bind())
    if there.has_table("memos"):
        return
    op.create_table(
        "memos",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("sink", sa.String(120), nullable=False),
        sa.Column("image", sa.String(36), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Index("memos_by_sink", "sink", "id"),
        comment="Images whose memo at Nova is to be deleted.",
    )
