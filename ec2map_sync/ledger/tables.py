"""The ledger's tables, as the newest migration leaves them."""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ec2map_sync.sql.images import ImageKey

metadata = sa.MetaData()

# Where they are few: as people read them. All are compared and sorted byte by
# byte, as Python does.
ImageText = (
    sa.String(36)
    .with_variant(
        mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"),
        "mysql",
        "mariadb",
    )
    .with_variant(sa.String(36, collation="C"), "postgresql")
)
Body = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
# SQLite counts rows up only for INTEGER keys.
RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

head = sa.Table(
    "head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("identity", sa.String(36), nullable=False),
    sa.Column("scheme", sa.String(32), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("last_stamp", sa.BigInteger, nullable=False),
    sa.Column("total_count", sa.BigInteger, nullable=False),
    sa.Column("total_sum", sa.BigInteger, nullable=False),
    comment="One row, locked first by whoever writes: orders the commits.",
)

# The columns of claims and numbers are in an order that leaves no gaps:
# PostgreSQL aligns each to its size. Numbers have 31 bits, as Nova's have.
claims = sa.Table(
    "claims",
    metadata,
    sa.Column("image", ImageKey, nullable=False),
    sa.Column("claimed_at", sa.BigInteger, nullable=False),
    sa.Column("wanted_at", sa.BigInteger),
    sa.Column("kind_at", sa.BigInteger),
    sa.Column("hash", sa.BigInteger, nullable=False),
    sa.Column("own_revision", sa.BigInteger),
    sa.Column("number", sa.Integer),
    sa.Column("wanted", sa.Integer),
    sa.Column("kind", sa.String(3)),
    sa.Column("spelling", ImageText, nullable=False),
    sa.Column("spelled", ImageText, nullable=False, server_default=""),
    # In the order in which regions compare, which is nearly that in which
    # they come: what is new goes to the end of the tree.
    sa.PrimaryKeyConstraint("claimed_at", "image"),
    sa.Index("claims_by_image", "image", unique=True),
    comment="What is known of each image; number is its mapping.",
)

own_claims = sa.Table(
    "own_claims",
    metadata,
    sa.Column(
        "revision", sa.BigInteger, primary_key=True, autoincrement=False
    ),
    sa.Column("image", ImageKey, primary_key=True),
    comment="Which claims were made here, by the revisions of their news.",
)

numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wish_wanted", sa.Boolean),
    sa.Column("wish_at", sa.BigInteger),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("wish_image", ImageKey),
    sa.Index("numbers_by_change", "revision"),
    comment="Every number ever held, and the wish that sits there now.",
)

passed = sa.Table(
    "passed",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("wish_image", ImageText, primary_key=True),
    sa.Column("wish_wanted", sa.Boolean, primary_key=True),
    sa.Column("wish_at", sa.BigInteger, nullable=False),
    comment="Wishes that went on because an earlier one sat there.",
)

moves = sa.Table(
    "moves",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("image", ImageText, nullable=False),
    sa.Column("old", sa.BigInteger, nullable=False),
    sa.Column("new", sa.BigInteger),
    sa.Column("cause", ImageText, nullable=False),
    sa.Index("moves_by_image", "image"),
    comment="Images whose number changed, and whose claim was the cause.",
)

evictions = sa.Table(
    "evictions",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("peer", sa.String(64), nullable=False),
    sa.Column("image", ImageText, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Index("evictions_by_peer", "peer", "at"),
    comment="Numbers that images have lost by claims of a peer.",
)

cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    comment="How far each reader of the feeds has come.",
)

peers = sa.Table(
    "peers",
    metadata,
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
    sa.Column("sees", sa.Text),
    sa.Column("canary", sa.BigInteger),
    sa.Column("canary_at", sa.BigInteger),
    sa.Column("echoed", sa.BigInteger),
    sa.Column("echoed_there_at", sa.BigInteger),
    sa.Column("echoed_at", sa.BigInteger),
    comment="What each peer last said, and what comparing has found.",
)

divergences = sa.Table(
    "divergences",
    metadata,
    sa.Column("sink", sa.String(120), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("image", sa.String(36), nullable=False),
    sa.Column("row_class", sa.String(16), nullable=False),
    sa.Column("settled", sa.BigInteger),
    sa.Column("kept", sa.Boolean, nullable=False),
    sa.Column("found_at", sa.BigInteger, nullable=False),
    sa.Index("divergences_by_image", "image"),
    sa.Index("divergences_by_class", "sink", "row_class", "kept"),
    comment="Rows in a sink that are not as settled.",
)

inserted = sa.Table(
    "inserted",
    metadata,
    sa.Column("sink", sa.String(120), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("image", ImageText, primary_key=True),
    comment="Rows of ours that their number does not show to be ours.",
)

memos = sa.Table(
    "memos",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("sink", sa.String(120), nullable=False),
    sa.Column("image", sa.String(36), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("memos_by_sink", "sink", "id"),
    comment="Images whose memo at Nova is to be deleted.",
)

replaced = sa.Table(
    "replaced",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("sink", sa.String(120), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("image", sa.String(36), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("replaced_by_image", "image", "sink"),
    comment="Rows that guests have seen before ours took their place.",
)

services = sa.Table(
    "services",
    metadata,
    sa.Column("host", sa.String(120), primary_key=True),
    sa.Column("name", sa.String(120), primary_key=True),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    sa.Column("working", sa.Boolean, nullable=False),
    sa.Column("last_error", sa.String(500)),
    sa.Column("last_error_at", sa.BigInteger),
    comment="What each loop of the agents last said of itself.",
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String(120), nullable=False),
    sa.Column("reason", sa.String(500), nullable=False),
    sa.Column("body", Body, nullable=False),
    sa.Column("headers", sa.Text),
    sa.Column("size", sa.Integer, nullable=False, server_default="0"),
    sa.Index("quarantine_by_source", "source", "id"),
    comment="What could not be understood or trusted, for an operator.",
)

quarantine_dropped = sa.Table(
    "quarantine_dropped",
    metadata,
    sa.Column("source", sa.String(120), primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    comment="How many entries had to make room for newer ones.",
)

bookkeeping = sa.Table(
    "bookkeeping",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.String(64), nullable=False),
    sa.Column("completed_at", sa.BigInteger),
    sa.Column("doubtful", sa.Boolean, nullable=False),
    sa.Column("found", sa.BigInteger, nullable=False),
    sa.Column("last_found", sa.String(500)),
    sa.Column("last_found_at", sa.BigInteger),
    comment="How far copies of rows have been held against the rows.",
)

signatures = sa.Table(
    "signatures",
    metadata,
    sa.Column("until", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("region", sa.String(64), primary_key=True),
    sa.Column("text", sa.String(255), nullable=False),
    sa.Column("signature", sa.LargeBinary(), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("former", sa.String(255)),
    sa.Index("signatures_by_region", "region", "at"),
    comment="Who has signed what of which moment.",
)

statements = sa.Table(
    "statements",
    metadata,
    sa.Column("region", sa.String(64), primary_key=True),
    sa.Column("statement", sa.LargeBinary(), nullable=False),
    sa.Column("note", sa.LargeBinary(), nullable=False),
    sa.Column("refused", sa.String(500)),
    comment="The newest statement of each region, and why another is refused.",
)
