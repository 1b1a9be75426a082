"""Tables of Nova and ec2-api, as their own migrations make them."""

import sqlalchemy as sa

_metadata = sa.MetaData()

# Nova 34: 8f2f1571d55b_initial_version.py.
S3_IMAGES = sa.Table(
    "s3_images",
    _metadata,
    sa.Column("created_at", sa.DateTime),
    sa.Column("updated_at", sa.DateTime),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True, nullable=False),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("deleted", sa.Integer),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

# Nova 34, those of its columns that tell of images.
INSTANCES = sa.Table(
    "instances",
    _metadata,
    sa.Column("created_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True, nullable=False),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("project_id", sa.String(255)),
    sa.Column("image_ref", sa.String(255)),
    sa.Column("kernel_id", sa.String(255)),
    sa.Column("ramdisk_id", sa.String(255)),
    sa.Column("user_data", sa.Text),
    sa.Column("config_drive", sa.String(255)),
    sa.Column("launched_at", sa.DateTime),
    sa.Column("deleted", sa.Integer),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

# Nova 34, API database: d67eeaabee36_initial_version.py and later ones.
CELL_MAPPINGS = sa.Table(
    "cell_mappings",
    _metadata,
    sa.Column("created_at", sa.DateTime),
    sa.Column("updated_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True, nullable=False),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", sa.String(255)),
    sa.Column("transport_url", sa.Text),
    sa.Column("database_connection", sa.Text),
    sa.Column("disabled", sa.Boolean, default=False),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)

# ec2-api 17: migrate_repo/versions/001_juno.py.
ITEMS = sa.Table(
    "items",
    _metadata,
    sa.Column("id", sa.String(30)),
    sa.Column("project_id", sa.String(64)),
    sa.Column("vpc_id", sa.String(12)),
    sa.Column("os_id", sa.String(36)),
    sa.Column("data", sa.Text),
    sa.PrimaryKeyConstraint("id"),
    sa.UniqueConstraint("os_id", name="items_os_id_idx"),
    mysql_engine="InnoDB",
    mysql_charset="utf8",
)


def create(engine: sa.Engine, *tables: sa.Table) -> None:
    """Make some of these tables."""
    _metadata.create_all(engine, tables=tables)
