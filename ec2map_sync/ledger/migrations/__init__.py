"""The ledger's schema, change by change (alembic)."""
