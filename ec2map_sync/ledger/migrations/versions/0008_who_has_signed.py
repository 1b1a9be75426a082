"""Notes of moments, and who has signed them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    if sa.inspect(op.get_bind()).has_table("signatures"):
        return
    op.create_table(
        "signatures",
        sa.Column(
            "until", sa.BigInteger, primary_key=True, autoincrement=False
        ),
        sa.Column("region", sa.String(64), primary_key=True),
        sa.Column("text", sa.String(255), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("former", sa.String(255)),
        sa.Index("signatures_by_region", "region", "at"),
        comment="Who has signed what of which moment.",
    )
