"""A Nova cell on SQLite for unit tests: its rows, and images to claim."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.claims import Sighting

CREATE = (
    "CREATE TABLE s3_images (created_at DATETIME, updated_at DATETIME,"
    " deleted_at DATETIME, id INTEGER PRIMARY KEY,"
    " uuid VARCHAR(36) NOT NULL, deleted INTEGER)"
)


def image(n: int) -> str:
    """Give the UUID of a numbered image."""
    return f"00000000-0000-4000-8000-{n:012x}"


def see(ledger: Ledger, *numbers: int) -> None:
    """Claim some numbered images."""
    ledger.see([Sighting(image=image(n), uuid=image(n)) for n in numbers])


def put(cell: Engine, *rows: tuple[int, str]) -> None:
    """Insert rows (id, uuid) as Nova would."""
    with cell.begin() as connection:
        for number, uuid in rows:
            connection.execute(
                sa.text("INSERT INTO s3_images (id, uuid) VALUES (:i, :u)"),
                {"i": number, "u": uuid},
            )


def rows(cell: Engine) -> set[tuple[int, str]]:
    """Give all rows (id, uuid)."""
    with cell.connect() as connection:
        found = connection.exec_driver_sql("SELECT id, uuid FROM s3_images")
        return {(int(i), str(u)) for i, u in found}
