"""Runs migrations on the connection that `schema.upgrade` hands over."""

from alembic import context

from ec2map_sync.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
)
with context.begin_transaction():
    context.run_migrations()
