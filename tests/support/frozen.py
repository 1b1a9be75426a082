"""Ledgers as old releases have left them: their rows, kept as JSON.

A new revision of the schema needs a file of its own, made from a ledger
that has something in every table:

    python tests/support/frozen.py DATABASE_URL >tests/data/ledgers/NNNN.json
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ec2map_sync.sql.images import ImageKey

FOLDER = Path(__file__).parent.parent / "data" / "ledgers"

Rows = dict[str, list[dict[str, Any]]]
"""By table; binary values as {"base64": text}."""


def frozen(revision: str) -> Rows:
    """Give the rows of a ledger of this revision."""
    rows: Rows = json.loads((FOLDER / f"{revision}.json").read_text())
    return rows


def dump(connection: Connection) -> Rows:
    """Read every row of every table, whatever there is."""
    metadata = _reflected(connection)
    return {
        table.name: [
            {name: _text(value) for name, value in row.items()}
            for row in connection.execute(
                sa.select(table).order_by(*table.primary_key)
            ).mappings()
        ]
        for table in metadata.sorted_tables
        if table.name != "alembic_version"
    }


def load(connection: Connection, rows: Rows) -> None:
    """Make these the only rows of a ledger of the same revision."""
    metadata = _reflected(connection)
    for name, some in rows.items():
        table = metadata.tables[name]
        connection.execute(sa.delete(table))
        for row in some:
            connection.execute(
                sa.insert(table),
                {column: _value(value) for column, value in row.items()},
            )


def _reflected(connection: Connection) -> sa.MetaData:
    """Read which tables there are; images are text, however they are held."""
    metadata = sa.MetaData()

    @sa.event.listens_for(metadata, "column_reflect")
    def note(_inspector: Any, _table: Any, column: Any) -> None:
        if isinstance(column["type"], sa.BINARY | sa.Uuid):
            column["type"] = ImageKey()

    metadata.reflect(connection)
    return metadata


def _text(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    return value


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return value


if __name__ == "__main__":
    with sa.create_engine(sys.argv[1]).connect() as opened:
        json.dump(dump(opened), sys.stdout, indent=1, sort_keys=True)
        print()
