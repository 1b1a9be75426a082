"""Images as bytes; claims in the order of their stamps; what was made here.

Half of what a ledger held was the text of UUIDs, which each of InnoDB's
indexes repeats.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0012"
down_revision = "0011"

PAGE = 50_000
"""Rows that one statement copies: that of all would be given up."""

_KEY = (
    sa.String(36)
    .with_variant(mysql.BINARY(16), "mysql", "mariadb")
    .with_variant(sa.Uuid(as_uuid=False), "postgresql")
)
_TEXT = (
    sa.String(36)
    .with_variant(
        mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"),
        "mysql",
        "mariadb",
    )
    .with_variant(sa.String(36, collation="C"), "postgresql")
)
_LEAST = -(2**63)
_UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def upgrade() -> None:
    """Change the schema.

    Goes on where it was cut short: MariaDB commits each change by itself.
    An old table is there until all of it was copied.
    """
    there = sa.inspect(op.get_bind())
    if not there.has_table("own_claims"):
        op.create_table(
            "own_claims",
            sa.Column(
                "revision",
                sa.BigInteger,
                primary_key=True,
                autoincrement=False,
            ),
            sa.Column("image", _KEY, primary_key=True),
            comment="Which claims were made here, by the revisions of their "
            "news.",
        )
    if _set_aside("claims", "claims_by_time"):
        op.execute("DELETE FROM own_claims")
        _create_claims()
        for page in _pages("claims_before", "claimed_at"):
            _copy_claims(page)
        op.drop_table("claims_before")
    if _set_aside("numbers", "numbers_by_revision"):
        _create_numbers()
        for page in _pages("numbers_before", "number"):
            _copy_numbers(page)
        op.drop_table("numbers_before")
    _index("claims_by_image", "claims", "image", unique=True)
    _index("numbers_by_change", "numbers", "revision")


def _set_aside(name: str, index: str) -> bool:
    """Gives a table another name; tells whether it is to be copied.

    It has ``index`` until it is.
    """
    there = sa.inspect(op.get_bind())
    before = f"{name}_before"
    if there.has_table(before):
        if there.has_table(name):
            op.drop_table(name)
        return True
    if index not in {one["name"] for one in there.get_indexes(name)}:
        return False
    op.rename_table(name, before)
    return True


def _create_claims() -> None:
    op.create_table(
        "claims",
        sa.Column("image", _KEY, nullable=False),
        sa.Column("claimed_at", sa.BigInteger, nullable=False),
        sa.Column("wanted_at", sa.BigInteger),
        sa.Column("kind_at", sa.BigInteger),
        sa.Column("hash", sa.BigInteger, nullable=False),
        sa.Column("own_revision", sa.BigInteger),
        sa.Column("number", sa.Integer),
        sa.Column("wanted", sa.Integer),
        sa.Column("kind", sa.String(3)),
        sa.Column("spelling", _TEXT, nullable=False),
        sa.Column("spelled", _TEXT, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("claimed_at", "image"),
        comment="What is known of each image; number is its mapping.",
    )


def _create_numbers() -> None:
    op.create_table(
        "numbers",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("wish_wanted", sa.Boolean),
        sa.Column("wish_at", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("wish_image", _KEY),
        comment="Every number ever held, and the wish that sits there now.",
    )


def _copy_claims(page: str) -> None:
    key, is_key = _key("image"), _is_key("image")
    others = (
        "spelling, claimed_at, wanted_at, wanted, kind_at, kind, hash, "
        "number, own_revision, spelled"
    )
    op.execute(
        f"INSERT INTO claims (image, {others}) "  # noqa: S608
        f"SELECT {key}, {others} FROM claims_before "
        f"WHERE {page} AND {is_key} ORDER BY claimed_at, image"
    )
    op.execute(
        f"INSERT INTO own_claims (revision, image) "  # noqa: S608
        f"SELECT own_revision, {key} FROM claims_before "
        f"WHERE {page} AND {is_key} AND own_revision IS NOT NULL"
    )


def _copy_numbers(page: str) -> None:
    key, is_key = _key("wish_image"), _is_key("wish_image")
    op.execute(
        "INSERT INTO numbers "  # noqa: S608
        "(number, wish_at, wish_image, wish_wanted, revision) "
        f"SELECT number, wish_at, {key}, wish_wanted, revision "
        f"FROM numbers_before WHERE {page} "
        f"AND (wish_image IS NULL OR {is_key}) ORDER BY number"
    )


def _pages(table: str, column: str) -> Iterator[str]:
    """Gives conditions that together are for all rows, some at a time."""
    connection, after = op.get_bind(), _LEAST
    while True:
        behind = f"{column} > {after}"
        upto = connection.scalar(
            sa.text(
                f"SELECT {column} FROM {table} WHERE {behind} "  # noqa: S608
                f"ORDER BY {column} LIMIT 1 OFFSET {PAGE - 1}"
            )
        )
        if upto is None:
            yield behind
            return
        yield f"{behind} AND {column} <= {upto}"
        if connection.dialect.name == "mysql":
            op.execute("COMMIT")  # else one large transaction
        after = upto


def _key(column: str) -> str:
    return {
        "mysql": f"UNHEX(REPLACE({column}, '-', ''))",
        "postgresql": f"CAST({column} AS uuid)",
    }.get(op.get_bind().dialect.name, column)


def _is_key(column: str) -> str:
    """Leaves out what somebody wrote by hand, and is no UUID."""
    return {
        "mysql": f"{column} RLIKE '^{_UUID}$'",
        "postgresql": f"{column} ~ '^{_UUID}$'",
    }.get(op.get_bind().dialect.name, "1 = 1")


def _index(
    name: str, table: str, column: str, *, unique: bool = False
) -> None:
    there = sa.inspect(op.get_bind()).get_indexes(table)
    if name not in {one["name"] for one in there}:
        op.create_index(name, table, [column], unique=unique)
