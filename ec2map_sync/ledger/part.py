"""How every part of the ledger reads and writes: in short transactions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.stamps import wall_clock
from ec2map_sync.sql.database import WRITE
from ec2map_sync.sql.errors import again
from ec2map_sync.sql.statements import select_in


class Part:
    """A part of the ledger: whatever it does is one transaction each."""

    def __init__(
        self, engine: Engine, clock: Callable[[], Stamp] = wall_clock
    ) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**WRITE)
        self._clock = clock

    def _rows(self, statement: sa.Select[Any], **given: Any) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(statement, given).all()

    def _rows_in(
        self,
        statement: sa.Select[Any],
        column: sa.Column[Any],
        values: Iterable[Any],
    ) -> Sequence[Any]:
        """Reads the rows whose column is among the values."""
        with self._engine.connect() as connection:
            return list(select_in(connection, statement, column, values))

    def _scalar(self, statement: sa.Select[Any]) -> Any:
        with self._engine.connect() as connection:
            return connection.scalar(statement)

    @again
    def _write(self, *statements: sa.Update | sa.Delete) -> int:
        """Writes, all of it or nothing; gives how many rows that were."""
        with self._writing.begin() as connection:
            done = [connection.execute(one).rowcount for one in statements]
        return sum(done)


def note(
    connection: Connection,
    table: sa.Table,
    key: Mapping[str, Any],
    values: Mapping[str, Any],
) -> None:
    """Writes some fields of a row, which is made if it is not there."""
    update = sa.update(table).values(**values).filter_by(**key)
    if not connection.execute(update).rowcount:
        connection.execute(sa.insert(table).values(**key, **values))
