"""Signed notes, as C2SP describes them: a text, and who has signed it.

https://c2sp.org/signed-note. Keys are Ed25519; a name is a region's.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.rules.errors import Ec2MapError

MAX_NOTE = 64 * 1024

_ED25519 = b"\x01"
_ID = 4
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+=*)")
_UNFIT = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class BadNote(Ec2MapError):
    """A note is malformed, or not signed as it has to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """That somebody has signed a text."""

    name: str
    key_id: bytes
    value: bytes

    @classmethod
    def of(cls, name: str, data: bytes) -> "Signature":
        """Returns somebody's signature from its ``data``."""
        return cls(name=name, key_id=data[:_ID], value=data[_ID:])

    @property
    def data(self) -> bytes:
        """The key's id, and what was signed with it."""
        return self.key_id + self.value

    def __str__(self) -> str:
        data = base64.b64encode(self.data).decode()
        return f"— {self.name} {data}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text that ends with a line's end, and its signatures."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """Reads a note; who has signed it is not looked at.

        :raises BadNote: it is none.
        """
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            raise BadNote("it is no text") from error
        if len(data) > MAX_NOTE or _UNFIT.search(whole):
            raise BadNote("it is no note: too long, or no plain text")
        # The last blank line: there may be others in the text.
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise BadNote("it is no signed note: no signatures at its end")
        signatures = map(_signature_of, lines[:-1].split("\n"))
        return cls(text=f"{text}\n", signatures=tuple(signatures))

    def with_signatures(self, others: Iterable["Note"]) -> "Note":
        """Returns the note with the signatures of others of this text too."""
        signatures = dict.fromkeys(self.signatures)
        for other in others:
            signatures |= dict.fromkeys(other.signatures)
        return Note(text=self.text, signatures=tuple(signatures))

    def signers(self, keys: Iterable[tuple[str, PublicKey]]) -> set[str]:
        """Returns who of those whose keys are known has signed the text.

        :raises BadNote: a signature that claims to be of one of these keys
            is not.
        """
        known = {(name, key_id(name, key)): key for name, key in keys}
        found = set()
        for one in self.signatures:
            key = known.get((one.name, one.key_id))
            if key is None:
                continue
            if not key.verifies(one.value, self.text.encode()):
                raise BadNote(
                    f"the signature of {one.name} is not of this text: one "
                    "of them was changed"
                )
            found.add(one.name)
        return found


def key_id(name: str, key: PublicKey) -> bytes:
    """Returns what tells keys apart in a note; not a secret, nor a proof."""
    return sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:_ID]


def sign(text: str, name: str, key: SigningKey) -> Signature:
    """Signs a text in somebody's name."""
    return Signature(
        name=name,
        key_id=key_id(name, PublicKey(key.public)),
        value=key.sign(text.encode()),
    )


def _signature_of(line: str) -> Signature:
    found = _LINE.fullmatch(line)
    try:
        data = base64.b64decode(found[2] if found else "", validate=True)
    except binascii.Error:
        data = b""
    loose = found is None or base64.b64encode(data).decode() != found[2]
    if found is None or loose or len(data) <= _ID:
        raise BadNote(f"{line[:40]!r} is no line of a signature")
    return Signature.of(found[1], data)
