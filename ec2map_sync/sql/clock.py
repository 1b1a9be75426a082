"""The time by a database's own clock, in the statement that reads a row."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Now(FunctionElement[int]):
    """Microseconds since 1970; NULL where there is no other clock."""

    type = sa.BigInteger()
    inherit_cache = True
    name = "ec2map_now"


@compiles(_Now, "mysql")
@compiles(_Now, "mariadb")
def _mysql(_now: _Now, _compiler: SQLCompiler, **_kwargs: Any) -> str:
    return "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"


@compiles(_Now, "postgresql")
def _postgresql(_now: _Now, _compiler: SQLCompiler, **_kwargs: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"


@compiles(_Now, "sqlite")
def _sqlite(_now: _Now, _compiler: SQLCompiler, **_kwargs: Any) -> str:
    return "NULL"  # a file of this machine


NOW = _Now().label("clock")
