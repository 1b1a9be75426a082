"""Files that an operator names: read whole, and written whole or not."""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

STANDARD = "-"
"""What stands for standard input or output."""


@contextmanager
def written(
    path: Path, standard: TextIO
) -> Iterator[Callable[[bytes], object]]:
    """Gives what writes a file, which appears when all of it is there.

    One that was there is replaced then; a pipe or a device is written to.
    """
    if str(path) == STANDARD:
        yield lambda data: standard.write(data.decode())
        return
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file.write
        return
    path = path.resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            if path.exists():
                part.chmod(stat.S_IMODE(path.stat().st_mode))
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


@contextmanager
def readable(path: Path, standard: BinaryIO) -> Iterator[BinaryIO]:
    """Opens a file to be read more than once, also where it is a pipe."""
    if str(path) == STANDARD:
        with _kept(standard) as copy:
            yield copy
        return
    with path.open("rb") as file:
        if file.seekable():
            yield file
            return
        with _kept(file) as copy:
            yield copy


@contextmanager
def _kept(file: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        yield copy
