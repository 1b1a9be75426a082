"""The ledger's schema: which version it has, and bringing it up to date."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.rules.errors import SchemaError

_FOLDER = Path(__file__).parent / "migrations"

_SYNTAX_ERROR = 1064
"""MySQL's and MariaDB's code for it."""

# As alembic has it; every command looks at it, and would wait for alembic.
_alembic_version = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), primary_key=True),
)


def newest() -> str:
    """Returns the version that this release needs."""
    return revisions()[-1]


def version(engine: Engine) -> str | None:
    """Returns the version that the database has; None if it has none."""
    if not sa.inspect(engine).has_table(_alembic_version.name):
        return None
    with engine.connect() as connection:
        return connection.scalar(sa.select(_alembic_version))


def upgrade(engine: Engine, to: str = "head") -> None:
    """Makes or change the tables; nothing happens if they are up to date."""
    # Slow to import, and no service needs it.
    import alembic.command  # noqa: PLC0415
    import alembic.config  # noqa: PLC0415

    config = alembic.config.Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, to)


def revisions() -> list[str]:
    """Returns all versions that this release knows, the oldest first."""
    return sorted(
        file.name.partition("_")[0]
        for file in (_FOLDER / "versions").glob("[0-9]*_*.py")
    )


def pending(engine: Engine) -> list[str]:
    """Lists the versions that an upgrade would go through, in order.

    :raises SchemaError: a newer release has upgraded the schema.
    """
    found, known = version(engine), revisions()
    if found is None:
        return known
    if found not in known:
        raise SchemaError(
            f"the ledger's schema is {found}, which this release does not "
            f"know (its newest is {known[-1]}): a newer release has "
            "upgraded it; install that one"
        )
    return known[known.index(found) + 1 :]


def require(engine: Engine, *, to_write: bool = True) -> None:
    """Makes sure that schema and server are what this release needs.

    Who does not want ``to_write`` needs no right to.

    :raises SchemaError: they are not; says what to run.
    """
    if pending(engine):
        raise SchemaError(
            f"the ledger's schema is {version(engine) or 'missing'}, this "
            f"release needs {newest()}: run 'ec2map-sync db upgrade'"
        )
    if to_write:
        _require_skip_locked(engine)


def _require_skip_locked(engine: Engine) -> None:
    """Tries what older servers lack; a version may be a proxy's."""
    statement = sa.select(_alembic_version).where(sa.false())
    try:
        with engine.connect() as connection:
            connection.execute(statement.with_for_update(skip_locked=True))
    except sa.exc.DBAPIError as error:
        if _SYNTAX_ERROR not in getattr(error.orig, "args", ()):
            raise
        raise SchemaError(
            "the ledger's server knows no SKIP LOCKED: the oldest that do are "
            "MariaDB 10.6 and MySQL 8.0"
        ) from error
