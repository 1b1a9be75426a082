"""Which canaries have come from each peer, and of ours to it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

COLUMNS = (
    "canary",
    "canary_at",
    "echoed",
    "echoed_there_at",
    "echoed_at",
)


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    there = sa.inspect(op.get_bind()).get_columns("peers")
    known = {column["name"] for column in there}
    for name in COLUMNS:
        if name not in known:
            op.add_column("peers", sa.Column(name, sa.BigInteger))
