"""Several statements in one round trip, and a transaction's end with its last.

A round trip to a server that rests takes longer than most statements do. Where
one of some statements fails, a server does none of those behind it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import Engine

from ec2map_sync.sql.statements import delete_in, inserts

AND_END: Mapping[str, Any] = {"ec2map_last": True}
"""Execution option of the statement that a transaction ends with.

Where it can, its end goes with it; to commit, or to close, costs nothing then.
Elsewhere that ends it, as ever.
"""

_COUNT = "ec2map_statements"
"""Execution option: how many statements there are in one."""

_MOST = 2**18
"""Characters that are sent at once: servers take 1 MiB, or more."""


def install(engine: Engine) -> None:
    """Lets an engine of MySQL's kind end transactions with a statement.

    Its links have an attribute ``ended``, and take several statements.
    """
    dialect = engine.dialect
    execute, commit = dialect.do_execute, dialect.do_commit
    roll_back = dialect.do_rollback

    def do_execute(
        cursor: Any, statement: str, parameters: Any, context: Any = None
    ) -> None:
        options = context.execution_options if context else {}
        last = options.get("ec2map_last", False)
        link = cursor.connection
        link.ended = False
        if last:
            statement += "; COMMIT"
        execute(cursor, statement, parameters, context)
        # The cursor has the first one's result. An error of another one is
        # raised here, as if it were the first one's.
        for _ in range(options.get(_COUNT, 1) - 1 + last):
            link.next_result()
        link.ended = last

    def do_commit(link: Any) -> None:
        if not link.ended:
            commit(link)

    def do_rollback(link: Any) -> None:
        if not link.ended:
            roll_back(link)

    ours = (do_execute, do_commit, do_rollback)
    for function in ours:
        setattr(dialect, function.__name__, function)


def run(
    connection: Connection, statements: Sequence[str], *, last: bool = False
) -> None:
    """Runs statements without parameters; none behind one that fails.

    ``last``: the transaction ends with them.
    """
    name = connection.dialect.name
    if name == "sqlite":
        for statement in statements:
            connection.exec_driver_sql(statement)
    elif name == "postgresql":
        end = ["COMMIT"] if last else []
        connection.exec_driver_sql("; ".join([*statements, *end]))
    elif statements:
        options = {_COUNT: len(statements), **(AND_END if last else {})}
        connection.exec_driver_sql(
            "; ".join(statements), execution_options=options
        )


class Unsent:
    """What a transaction writes, kept until somebody reads, or commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[str] = []

    @property
    def connection(self) -> Connection:
        """The connection, for whoever is to find there what was written."""
        self._send()
        return self._connection

    def insert(
        self,
        columns: Sequence[sa.Column[Any]],
        rows: Iterable[tuple[Any, ...]],
    ) -> None:
        """Inserts rows as `statements.insert` does."""
        for statement in inserts(self._connection, columns, rows):
            if sum(map(len, self._waiting)) + len(statement) > _MOST:
                self._send()
            self._waiting.append(statement)

    def delete_in(self, column: sa.Column[Any], values: Iterable[Any]) -> None:
        """Deletes the rows whose column is among the values."""
        if values := list(values):
            delete_in(self.connection, column, values)

    def commit(self, *statements: str) -> None:
        """Writes what is left, and some statements, and commits."""
        if self._waiting or statements:
            run(self._connection, [*self._waiting, *statements], last=True)
            self._waiting.clear()
        self._connection.commit()

    def _send(self) -> None:
        if self._waiting:
            run(self._connection, self._waiting)
            self._waiting.clear()
