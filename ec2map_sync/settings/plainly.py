"""Reading values of options, and saying in a line what is wrong with them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from oslo_config import cfg

from ec2map_sync.rules.errors import ConfigError, one_line

DOLLAR = "it names no option behind '$'; a '$' of its own is written '$$'"
"""Which name it is, is not said: it may be part of a password."""


@contextmanager
def said_plainly() -> Iterator[None]:
    """Says in one line what is wrong with configuration files.

    :raises ConfigError: one is missing, cannot be read, or has a value that
        does not fit.
    """
    try:
        yield
    except cfg.ConfigFilesNotFoundError as error:
        missing = ", ".join(error.config_files)
        raise ConfigError(f"no configuration file {missing}") from error
    except OSError as error:  # a directory, or not ours to read
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"a configuration file is not in UTF-8: {error}"
        ) from error
    except (cfg.Error, ValueError) as error:
        raise ConfigError(one_line(error)) from error


Values = cfg.ConfigOpts | cfg.ConfigOpts.GroupAttr
"""Those of a section, by the names of options."""


def read_all(values: Values, section: str, opts: Sequence[cfg.Opt]) -> None:
    """Reads each value once: oslo.config checks it only then.

    :raises ConfigError: one does not fit.
    """
    with said_plainly():
        for opt in opts:
            read(values, section, opt.dest)


def read(values: Values, section: str, name: str) -> Any:
    """Reads a value.

    :raises ConfigError: it has a '$' that means nothing.
    """
    try:
        return values[name]
    except cfg.NoSuchOptError as error:
        raise ConfigError(f"[{section}] {name}: {DOLLAR}") from error
