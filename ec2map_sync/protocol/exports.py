"""Files that operators carry: what a ledger or a sink holds, line by line.

The first line says what it is, and how many lines follow; the last is the
SHA-256 of all before it. Whoever reads checks the whole before believing any.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import chain
from typing import BinaryIO, TypeVar

from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import BadMessage, Ec2MapError

FORMAT = "ec2map-sync export"
VERSION = 1
MAX_LINE = 1024
"""Bytes; a claim's line has at most 160."""

T = TypeVar("T")


class BadExport(Ec2MapError):
    """A file is no export, or not as it was written."""


class Exported(StrEnum):
    """What an export is of."""

    LEDGER = "ledger"
    SINK = "sink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What the first line of an export says."""

    of: Exported
    region: str
    scheme: str
    at: Stamp
    """When it was written."""
    count: int
    sink: str = ""
    """Of which sink, if of one."""


def write(
    put: Callable[[bytes], object],
    export: Export,
    pages: Iterable[Iterable[str]],
) -> None:
    """Gives an export to ``put``, a page of lines at a time."""
    digest = sha256()
    for page in chain([[_first_line(export)]], pages):
        data = "".join(f"{line}\n" for line in page).encode()
        digest.update(data)
        put(data)
    put(_last_line(digest.hexdigest()))


def _first_line(export: Export) -> str:
    fields = {"format": FORMAT, "version": VERSION, **asdict(export)}
    if not export.sink:
        del fields["sink"]
    return json.dumps(fields, separators=(",", ":"))


def read_first(file: BinaryIO, name: str) -> Export:
    """Reads what an export is of; ``name`` is what errors call it.

    :raises BadExport: it is none, or one that this release does not read.
    """
    file.seek(0)
    return _export_of(file.readline(MAX_LINE), name)


def read(file: BinaryIO, name: str, parse: Callable[[str], T]) -> Iterator[T]:
    """Reads an export's lines; none is to be believed before the end.

    :raises BadExport: it is none, was cut off, or is not as it was written.
    """
    file.seek(0)
    first = file.readline(MAX_LINE)
    digest = sha256(first)
    count = _export_of(first, name).count
    for at in range(count):
        data = file.readline(MAX_LINE)
        if not data.endswith(b"\n") and len(data) < MAX_LINE:
            raise BadExport(
                f"{name} was cut off: after {at} of {count} lines; make it "
                "anew, or copy it again"
            )
        digest.update(data)
        try:
            yield parse(data.decode().removesuffix("\n"))
        except (BadMessage, ValueError) as error:
            raise BadExport(f"{name}, line {at + 2}: {error}") from error
    if file.read(MAX_LINE) != _last_line(digest.hexdigest()):
        raise BadExport(
            f"{name} is not as it was written: its last line is not the "
            "checksum of all before it; make it anew, or copy it again"
        )


def _export_of(line: bytes, name: str) -> Export:
    try:
        fields = json.loads(line)
        if fields["format"] != FORMAT:
            raise ValueError(fields["format"])
        if fields["version"] != VERSION:
            raise BadExport(
                f"{name} is an export of version {str(fields['version'])!r:.9}"
                f", and this release reads {VERSION}: a newer one may read it"
            )
        return Export(
            of=Exported(fields["of"]),
            region=str(fields["region"]),
            scheme=str(fields["scheme"]),
            at=int(fields["at"]),
            count=int(fields["count"]),
            sink=str(fields.get("sink", "")),
        )
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise BadExport(f"{name} is no export of ec2map-sync") from error


def _last_line(digest: str) -> bytes:
    return f'{{"sha256":"{digest}"}}\n'.encode()
