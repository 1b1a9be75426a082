"""The first schema."""

import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

_IMAGE = (
    sa.String(36)
    .with_variant(
        mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"),
        "mysql",
        "mariadb",
    )
    .with_variant(sa.String(36, collation="C"), "postgresql")
)
_BODY = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table, and the one row of head."""
    _create_set()
    _create_readers()
    _create_records()
    _create_sinks()


def _create_set() -> None:
    head = op.create_table(
        "head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("identity", sa.String(36), nullable=False),
        sa.Column("scheme", sa.String(32), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("last_stamp", sa.BigInteger, nullable=False),
        sa.Column("total_count", sa.BigInteger, nullable=False),
        sa.Column("total_sum", sa.BigInteger, nullable=False),
        comment="One row, locked first by whoever writes: orders the commits.",
    )
    op.bulk_insert(
        head,
        [
            {
                "id": 1,
                "identity": str(uuid.uuid4()),
                "scheme": "",
                "revision": 0,
                "last_stamp": 0,
                "total_count": 0,
                "total_sum": 0,
            }
        ],
    )
    op.create_table(
        "claims",
        sa.Column("image", _IMAGE, primary_key=True),
        sa.Column("spelling", _IMAGE, nullable=False),
        sa.Column("claimed_at", sa.BigInteger, nullable=False),
        sa.Column("wanted_at", sa.BigInteger),
        sa.Column("wanted", sa.BigInteger),
        sa.Column("kind_at", sa.BigInteger),
        sa.Column("kind", sa.String(3)),
        sa.Column("hash", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger),
        sa.Column("own_revision", sa.BigInteger),
        sa.Index("claims_by_time", "claimed_at", "image", "hash"),
        sa.Index("claims_by_own_revision", "own_revision"),
        comment="What is known of each image; number is its mapping.",
    )
    op.create_table(
        "numbers",
        sa.Column(
            "number", sa.BigInteger, primary_key=True, autoincrement=False
        ),
        sa.Column("wish_at", sa.BigInteger),
        sa.Column("wish_image", _IMAGE),
        sa.Column("wish_wanted", sa.Boolean),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Index("numbers_by_revision", "revision"),
        comment="Every number ever held, and the wish that sits there now.",
    )
    op.create_table(
        "passed",
        sa.Column(
            "number", sa.BigInteger, primary_key=True, autoincrement=False
        ),
        sa.Column("wish_image", _IMAGE, primary_key=True),
        sa.Column("wish_wanted", sa.Boolean, primary_key=True),
        sa.Column("wish_at", sa.BigInteger, nullable=False),
        comment="Wishes that went on because an earlier one sat there.",
    )


def _create_readers() -> None:
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        comment="How far each reader of the feeds has come.",
    )
    op.create_table(
        "peers",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("received_at", sa.BigInteger),
        sa.Column("sent_at", sa.BigInteger),
        sa.Column("total", sa.BigInteger),
        sa.Column("newest", sa.BigInteger),
        sa.Column("agrees_until", sa.BigInteger),
        sa.Column("differs_since", sa.BigInteger),
        sa.Column("compared_at", sa.BigInteger),
        sa.Column("missing_here", sa.BigInteger),
        sa.Column("missing_there", sa.BigInteger),
        comment="What each peer last said, and what comparing has found.",
    )
    op.create_table(
        "services",
        sa.Column("host", sa.String(120), primary_key=True),
        sa.Column("name", sa.String(120), primary_key=True),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("working", sa.Boolean, nullable=False),
        sa.Column("last_error", sa.String(500)),
        sa.Column("last_error_at", sa.BigInteger),
        comment="What each loop of the agents last said of itself.",
    )


def _create_records() -> None:
    op.create_table(
        "moves",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("image", _IMAGE, nullable=False),
        sa.Column("old", sa.BigInteger, nullable=False),
        sa.Column("new", sa.BigInteger),
        sa.Column("cause", _IMAGE, nullable=False),
        sa.Index("moves_by_image", "image"),
        comment="Images whose number changed, and whose claim was the cause.",
    )
    op.create_table(
        "quarantine",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(120), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("body", _BODY, nullable=False),
        sa.Column("headers", sa.Text),
        comment="What could not be understood or trusted, for an operator.",
    )


def _create_sinks() -> None:
    op.create_table(
        "divergences",
        sa.Column("sink", sa.String(120), primary_key=True),
        sa.Column(
            "number", sa.BigInteger, primary_key=True, autoincrement=False
        ),
        sa.Column("image", sa.String(36), nullable=False),
        sa.Column("row_class", sa.String(16), nullable=False),
        sa.Column("settled", sa.BigInteger),
        sa.Column("kept", sa.Boolean, nullable=False),
        sa.Column("found_at", sa.BigInteger, nullable=False),
        sa.Index("divergences_by_image", "image"),
        comment="Rows in a sink that are not as settled.",
    )
    op.create_table(
        "inserted",
        sa.Column("sink", sa.String(120), primary_key=True),
        sa.Column(
            "number", sa.BigInteger, primary_key=True, autoincrement=False
        ),
        sa.Column("image", _IMAGE, primary_key=True),
        comment="Rows of ours that their number does not show to be ours.",
    )
