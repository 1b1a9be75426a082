"""Nova's cells, as its API database lists them, and those that come and go."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from ec2map_sync.rules.errors import ConfigError
from ec2map_sync.settings.config import Config
from ec2map_sync.settings.values import Cell
from ec2map_sync.sql.database import create_engine, parse_url

LOG = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

# The columns of Nova 34 that are read here.
cell_mappings = sa.Table(
    "cell_mappings",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("database_connection", sa.Text),
)


def fill_template(url: str, base: str) -> str:
    """Fills in what a cell's URL leaves to [database] connection.

    As Nova does: `{scheme}://{username}:{password}@{hostname}:{port}/x`.
    """
    parts = urlsplit(base)
    # Not parts.hostname, which would be lower-cased; nor .port, a number.
    user, _, address = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        host, port = address, ""
    if host.startswith("["):
        # Nova leaves out the brackets of an IPv6 address.
        url = url.replace("[{hostname}]", "{hostname}")
    values = {
        "scheme": parts.scheme,
        "username": username,
        "password": password,
        "hostname": host,
        "port": port,
        "path": parts.path.lstrip("/"),
        "query": parts.query,
        "fragment": parts.fragment,
    }
    return re.sub(
        r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), url
    )


def discover(
    engine: Engine, template: str | None
) -> tuple[list[Cell], list[str]]:
    """Reads the cells, cell0 and disabled ones included.

    The name of a cell may be missing, or be another's as well; its uuid
    serves then. Gives besides, in a line each, which cells cannot be used.
    """
    statement = sa.select(cell_mappings).order_by(cell_mappings.c.id)
    with engine.connect() as connection:
        rows = connection.execute(statement).all()
    times = Counter(row.name for row in rows)
    cells: list[Cell] = []
    unusable: list[str] = []
    for row in rows:
        usable = _NAME.fullmatch(row.name or "") and times[row.name] == 1
        name = row.name if usable else row.uuid
        where = f"database_connection of cell {name} in cell_mappings"
        try:
            url = _complete(row.database_connection or "", template, where)
            cells.append(Cell(name=name, url=url))
        except ConfigError as error:
            unusable.append(str(error))
    return cells, unusable


def cells_of(config: Config) -> list[Cell]:
    """Returns the cells of this region, named or discovered now.

    :raises sqlalchemy.exc.SQLAlchemyError: Nova's API database is away.
    """
    api = config.nova_api
    if api is None:
        return list(config.cells)
    engine = create_engine(api.url)
    try:
        cells, unusable = discover(engine, api.template)
    finally:
        engine.dispose()
    for line in unusable:
        LOG.error("%s", line)
    return cells


def _complete(url: str, template: str | None, where: str) -> URL:
    if template is not None:
        url = fill_template(url, template)
    elif re.search(r"\{\w+\}", url):
        raise ConfigError(
            f"{where} is a template: [nova] cell_template_connection is "
            "missing"
        )
    return parse_url(url, where)


class Roster:
    """Starts the Writers of cells that appear, ends those of removed ones.

    A cell whose database has moved is both. While the list cannot be read,
    or a cell's database does not answer, everything else goes on.
    """

    def __init__(
        self,
        engine: Engine,
        template: str | None,
        *,
        start: Callable[[Cell], None],
        end: Callable[[Cell], None],
    ) -> None:
        self._engine = engine
        self._template = template
        self._start = start
        self._end = end
        self._cells: dict[str, Cell] = {}
        self._unusable: list[str] = []

    def step(self) -> bool:
        """Looks once."""
        cells, unusable = discover(self._engine, self._template)
        found = {cell.name: cell for cell in cells}
        for name, cell in list(self._cells.items()):
            if found.get(name) != cell:
                LOG.info("cell %s is gone, or its database elsewhere", name)
                self._end(cell)
                del self._cells[name]
        for name, cell in found.items():
            if name not in self._cells:
                LOG.info("cell %s is written from now on", name)
                self._start(cell)
                self._cells[name] = cell
        for line in unusable:
            if line not in self._unusable:
                LOG.error("%s", line)
        self._unusable = unusable
        return False
