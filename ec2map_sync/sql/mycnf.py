"""Option files of MySQL and MariaDB (my.cnf), as the driver reads them."""

import configparser
from contextlib import suppress

from ec2map_sync.rules.errors import ConfigError, one_line


def options(path: str, group: str) -> dict[str, str]:
    """Returns what a file says in a group.

    :raises ConfigError: it cannot be read as one.
    """
    from pymysql.optionfile import Parser  # noqa: PLC0415, slow

    parser = Parser()
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(one_line(error)) from error
    found: dict[str, str] = {}
    for name in parser.options(group) if parser.has_section(group) else ():
        with suppress(TypeError):  # it has no value
            found[name] = parser.get(group, name)
    return found
