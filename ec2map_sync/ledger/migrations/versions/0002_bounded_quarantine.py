"""The size of what lies in quarantine, and what had to make room."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Change the schema."""
    # What is there already counts as nothing: it is bounded by its number.
    op.add_column(
        "quarantine",
        sa.Column("size", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("quarantine_by_source", "quarantine", ["source", "id"])
    op.create_table(
        "quarantine_dropped",
        sa.Column("source", sa.String(120), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        comment="How many entries had to make room for newer ones.",
    )
