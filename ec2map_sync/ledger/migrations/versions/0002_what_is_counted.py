"""The quarantine by size, what had to make room there, an index to count."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    """
    there = sa.inspect(op.get_bind())
    if not _has("size", there.get_columns("quarantine")):
        # What is there already counts as nothing: it is bounded by its
        # number.
        op.add_column(
            "quarantine",
            sa.Column("size", sa.Integer, nullable=False, server_default="0"),
        )
    if not _has("quarantine_by_source", there.get_indexes("quarantine")):
        op.create_index("quarantine_by_source", "quarantine", ["source", "id"])
    if not _has("divergences_by_class", there.get_indexes("divergences")):
        op.create_index(
            "divergences_by_class",
            "divergences",
            ["sink", "row_class", "kept"],
        )
    if not there.has_table("quarantine_dropped"):
        _create_dropped()


def _has(name: str, found: Iterable[Any]) -> bool:
    return name in {one["name"] for one in found}


def _create_dropped() -> None:
    op.create_table(
        "quarantine_dropped",
        sa.Column("source", sa.String(120), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        comment="How many entries had to make room for newer ones.",
    )
