"""Reading the files in which a region is configured."""

from collections.abc import Callable, Sequence

from oslo_config import cfg

from ec2map_sync.settings import options
from ec2map_sync.settings.config import PROJECT, Config
from ec2map_sync.settings.plainly import read_all, said_plainly


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
    for group, opts in options.GROUPS.items():
        values = conf if group is None else conf[group]
        read_all(values, group or "DEFAULT", opts)
    return Config(conf)
