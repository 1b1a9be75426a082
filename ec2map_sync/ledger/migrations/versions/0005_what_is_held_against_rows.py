"""How far the copies of rows have been held against them, and the outcome."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    if sa.inspect(op.get_bind()).has_table("bookkeeping"):
        return
    op.create_table(
        "bookkeeping",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.String(64), nullable=False),
        sa.Column("completed_at", sa.BigInteger),
        sa.Column("doubtful", sa.Boolean, nullable=False),
        sa.Column("found", sa.BigInteger, nullable=False),
        sa.Column("last_found", sa.String(500)),
        sa.Column("last_found_at", sa.BigInteger),
        comment="How far copies of rows have been held against the rows.",
    )
