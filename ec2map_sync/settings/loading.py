"""Reading the files in which a region is configured."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from oslo_config import cfg

from ec2map_sync.rules.errors import ConfigError, one_line
from ec2map_sync.settings import options
from ec2map_sync.settings.config import PROJECT, Config


def load(
    args: Sequence[str],
    *,
    files: Sequence[str] | None = None,
    prepare: Callable[[cfg.ConfigOpts], None] | None = None,
) -> Config:
    """Reads configuration files.

    ``args`` is a command line of oslo.config's own options; ``files``
    replaces the usual places. ``prepare`` may register further options.

    :raises ConfigError: a file is missing or a value does not fit.
    """
    conf = cfg.ConfigOpts()
    for group, opts in options.GROUPS.items():
        conf.register_opts(opts, group=group)
    if prepare:
        prepare(conf)
    with said_plainly():
        conf(
            list(args),
            project=PROJECT,
            prog=f"{PROJECT}-agent",
            default_config_files=None if files is None else list(files),
        )
        _read_all(conf)
    return Config(conf)


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


def _read_all(conf: cfg.ConfigOpts) -> None:
    """Reads each value once: oslo.config checks it only then."""
    for group, opts in options.GROUPS.items():
        for opt in opts:
            _ = (conf if group is None else conf[group])[opt.dest]
