"""The newest statement of each region about what it signs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    if sa.inspect(op.get_bind()).has_table("statements"):
        return
    op.create_table(
        "statements",
        sa.Column("region", sa.String(64), primary_key=True),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("refused", sa.String(500)),
        comment="The newest statement of each region, and why another is "
        "refused.",
    )
