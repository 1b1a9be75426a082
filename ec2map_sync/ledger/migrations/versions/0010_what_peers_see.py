"""How each peer sees the others."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    there = sa.inspect(op.get_bind()).get_columns("peers")
    if "sees" not in {column["name"] for column in there}:
        op.add_column("peers", sa.Column("sees", sa.Text))
