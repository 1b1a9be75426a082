"""Configuration files: whether others may read the passwords in them."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from oslo_config import cfg

_SECRET = re.compile(
    # user:password@ of a URL, or an option that is one
    rb"://[^/\s:@]*:[^/\s@]+@|^\s*(password|hash_key)\s*=\s*\S",
    re.MULTILINE,
)

OTHERS = stat.S_IRWXO


def open_to_others(conf: cfg.ConfigOpts) -> list[Path]:
    """Returns which files with secrets any user of this machine may use.

    What a group may read is the operator's to say: a service's files
    belong to root, and to its group, as a rule.
    """
    return [path for path in _files(conf) if _is_open(path)]


def _files(conf: cfg.ConfigOpts) -> Iterator[Path]:
    yield from map(Path, conf.config_file or ())
    for directory in conf.config_dir or ():
        yield from sorted(Path(directory).glob("*.conf"))


def _is_open(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
        return bool(mode & OTHERS and _SECRET.search(path.read_bytes()))
    except OSError:
        return False  # gone since it was read
