"""EC2 ids in templates: where they stand in a text, and others put there."""

import re
from bisect import bisect_right
from codecs import (
    BOM_UTF8,
    BOM_UTF16_BE,
    BOM_UTF16_LE,
    BOM_UTF32_BE,
    BOM_UTF32_LE,
)
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Nova writes eight digits, always. A letter or digit beside them makes
# another word of it; so do the seventeen digits that AWS has now.
_ID = re.compile(r"(?<![0-9A-Za-z])a[mkr]i-[0-9a-f]{8}(?![0-9A-Za-z])", re.I)
_OF_AWS = re.compile(
    r"(?<![0-9A-Za-z])a[mkr]i-[0-9a-f]{17}(?![0-9A-Za-z])", re.I
)
_MISCOUNTED = re.compile(
    r"(?<![0-9A-Za-z])a[mkr]i-(?:[0-9a-f]{7}|[0-9a-f]{9,16})(?![0-9A-Za-z])",
    re.I,
)
_LINE_END = re.compile(r"\r\n|\r|\n")

_MARKS = (
    (BOM_UTF8, "utf-8"),
    # One of UTF-16 begins as one of UTF-32 does.
    (BOM_UTF32_LE, "utf-32-le"),
    (BOM_UTF32_BE, "utf-32-be"),
    (BOM_UTF16_LE, "utf-16-le"),
    (BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """That an id stands in a text; lines and columns are counted from 1."""

    ec2_id: str
    """In lower case, however the text spells it."""
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Template:
    """A text that may mention ids, and how it was written in bytes."""

    text: str
    encoding: str = "utf-8"
    mark: bytes = b""
    """The byte order mark in front of it."""

    @classmethod
    def read(cls, data: bytes) -> "Template | None":
        """Reads bytes as text; None if they are none.

        What is not UTF-8 reads as Latin-1, which every text in which letters
        are single bytes does: ids are ASCII.
        """
        for mark, encoding in _MARKS:
            if data.startswith(mark):
                return cls._decoded(data.removeprefix(mark), encoding, mark)
        if b"\0" in data:
            return None
        return cls._decoded(data, "utf-8") or cls._decoded(data, "latin-1")

    @classmethod
    def _decoded(
        cls, data: bytes, encoding: str, mark: bytes = b""
    ) -> "Template | None":
        try:
            return cls(data.decode(encoding), encoding, mark)
        except UnicodeDecodeError:
            return None

    def mentions(self) -> Iterator[Mention]:
        """Returns every id of eight digits, in order."""
        starts = [0, *(end.end() for end in _LINE_END.finditer(self.text))]
        for found in _ID.finditer(self.text):
            line = bisect_right(starts, found.start())
            yield Mention(
                ec2_id=found[0].lower(),
                line=line,
                column=found.start() - starts[line - 1] + 1,
            )

    def of_aws(self) -> int:
        """Counts the ids that only AWS can have given."""
        return sum(1 for _ in _OF_AWS.finditer(self.text))

    def miscounted(self) -> int:
        """Counts what looks like an id and has some digits too many or few."""
        return sum(1 for _ in _MISCOUNTED.finditer(self.text))

    def replaced(self, new: Mapping[str, str]) -> bytes:
        """Writes the text with other ids, and all else as it was."""
        text = _ID.sub(lambda old: new.get(old[0].lower(), old[0]), self.text)
        return self.mark + text.encode(self.encoding)
