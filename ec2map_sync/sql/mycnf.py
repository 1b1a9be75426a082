"""Option files of MySQL and MariaDB (my.cnf), as the driver reads them."""

import configparser

from ec2map_sync.rules.errors import ConfigError, one_line
from ec2map_sync.sql import tls

_FILES = ("ssl-ca", "ssl-capath", "ssl-cert", "ssl-key")


def require(path: str, group: str) -> None:
    """Looks at what the driver would stumble over when it connects.

    :raises ConfigError: naming the file, and what is wrong in it.
    """
    from pymysql.optionfile import Parser  # noqa: PLC0415, slow

    parser = Parser()
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"read_default_file: {path}: {one_line(error)}"
        ) from error
    for name in _FILES:
        if parser.has_option(group, name):
            tls.require_file(f"{path}: {name}", parser.get(group, name))
