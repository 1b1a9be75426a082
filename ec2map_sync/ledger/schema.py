"""The ledger's schema: which version it has, and bringing it up to date."""

from pathlib import Path

import alembic.command
import alembic.config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Engine

from ec2map_sync.rules.errors import SchemaError

_FOLDER = Path(__file__).parent / "migrations"


def _alembic() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def newest() -> str:
    """Give the version that this release needs."""
    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    assert head is not None
    return head


def version(engine: Engine) -> str | None:
    """Give the version that the database has; None if it has none."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine, to: str = "head") -> None:
    """Make or change the tables; nothing happens if they are up to date."""
    config = _alembic()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, to)


def revisions() -> list[str]:
    """List all versions that this release knows, the oldest first."""
    script = ScriptDirectory.from_config(_alembic())
    return [step.revision for step in script.walk_revisions()][::-1]


def pending(engine: Engine) -> list[str]:
    """List the versions that an upgrade would go through, in order.

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


def require(engine: Engine) -> None:
    """Make sure that the schema is the one that this release needs.

    :raises SchemaError: it is not; says what to run.
    """
    if pending(engine):
        raise SchemaError(
            f"the ledger's schema is {version(engine) or 'missing'}, this "
            f"release needs {newest()}: run 'ec2map-sync db upgrade'"
        )
