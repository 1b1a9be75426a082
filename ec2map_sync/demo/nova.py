"""A Nova cell as the demonstration plays it: the table behind EC2 ids."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ec2map_sync.rules.rows import SinkRow
from ec2map_sync.sql import database

# As Nova's migrations make it; the second table and the trigger are the
# demonstration's stop-watch. julianday() counts milliseconds.
_TABLES = (
    "CREATE TABLE s3_images (created_at DATETIME, updated_at DATETIME, "
    "deleted_at DATETIME, id INTEGER NOT NULL PRIMARY KEY, "
    "uuid VARCHAR(36) NOT NULL, deleted INTEGER)",
    "CREATE TABLE demo_arrivals (uuid VARCHAR(36), at FLOAT)",
    "CREATE TRIGGER demo_arrival AFTER INSERT ON s3_images BEGIN "
    "INSERT INTO demo_arrivals VALUES (NEW.uuid, "
    "(julianday('now') - 2440587.5) * 86400.0); END",
)


class Cell:
    """One cell's database (SQLite)."""

    def __init__(self, path: Path, earlier: Iterable[str]) -> None:
        """Makes the tables, and the rows of images booted ``earlier``."""
        self.url = f"sqlite:///{path}"
        self._engine = database.create_engine(sa.make_url(self.url))
        with self._engine.begin() as connection:
            for statement in _TABLES:
                connection.exec_driver_sql(statement)
        self._earlier = frozenset(earlier)
        self.boot(sorted(self._earlier))

    def boot(self, images: Iterable[str]) -> None:
        """Boots images in this order and lets Nova number what it must.

        It does so where no row is there yet (`glance_id_to_ec2_id`).
        """
        with self._engine.begin() as connection:
            for image in images:
                connection.exec_driver_sql(
                    "INSERT INTO s3_images (uuid, deleted) SELECT :i, 0 "
                    "WHERE NOT EXISTS (SELECT 1 FROM s3_images "
                    "WHERE uuid = :i)",
                    {"i": image},
                )

    def rows(self) -> list[SinkRow]:
        """Returns all rows but the earlier ones."""
        return [
            SinkRow(number=number, uuid=image)
            for number, image in self._read("SELECT id, uuid FROM s3_images")
            if image not in self._earlier
        ]

    def numbers(self) -> dict[str, int]:
        """Returns what Nova answers, by image: of two rows the lowest id."""
        rows = sorted(self.rows(), key=lambda row: -row.number)
        return {row.uuid: row.number for row in rows}

    def has(self, image: str) -> bool:
        """Whether an image has its row."""
        return bool(
            self._read("SELECT id, uuid FROM s3_images WHERE uuid = ?", image)
        )

    def arrivals(self) -> dict[str, float]:
        """Returns when each image's first row came (seconds since 1970)."""
        return dict(
            self._read("SELECT uuid, min(at) FROM demo_arrivals GROUP BY uuid")
        )

    def latest(self) -> tuple[str, float] | None:
        """Returns the image whose row came last, and when."""
        found = self._read(
            "SELECT uuid, at FROM demo_arrivals ORDER BY rowid DESC LIMIT 1"
        )
        return found[0] if found else None

    def _read(self, statement: str, *values: str) -> list[tuple[Any, Any]]:
        with self._engine.connect() as connection:
            result = connection.exec_driver_sql(statement, values)
            return [(row[0], row[1]) for row in result]
