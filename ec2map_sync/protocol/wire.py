"""Messages between regions: values to signed bytes, and back.

`decode` is the only way in: what it returns was signed by a configured peer,
follows our scheme and is well formed, so that nobody checks keys further on.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ec2map_sync.protocol.fields import is_text, stamp
from ec2map_sync.protocol.messages import (
    FROM_JSON,
    TO_JSON,
    Json,
    Message,
)
from ec2map_sync.protocol.signing import PublicKey, SigningKey
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.names import UNREADABLE

VERSION = 1
"""What everybody reads."""
DEFLATED = 2
"""The same with a deflated body, for those who say that they read it."""
MAX_BODY = 4 * 1024 * 1024
"""Bytes; a page of 5,000 claims has about 700,000."""
MAX_COMMAS = 200_000
"""In a body; a page of 5,000 claims has 35,000. As long as all of it is being
parsed, no other thread of the process runs."""
MAX_INFLATED = 1024 * 1024
"""Bytes of what was deflated: so many messages in hand are no more to read
than as many long ones."""
MAX_INFLATION = 64
"""Times a deflated body may grow. Claims grow four times; what grows a
thousand times would let a peer, with few bytes, give us much to read."""

Headers = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that was understood and is trusted."""

    sender: str
    sent_at: Stamp
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom a reader believes, under which scheme."""

    sender: str
    keys: tuple[PublicKey, ...]
    scheme: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """How a region signs what it sends."""

    region: str
    scheme: str
    key: SigningKey | None
    """None only for a region without peers, whom nobody reads."""
    clock: Callable[[], Stamp]


def encode(
    message: Message, pen: Pen, reads: int = VERSION
) -> tuple[dict[str, Any], bytes]:
    """Returns the headers and the body of a message.

    ``reads`` is the newest version that those read whom it is for; the body
    is deflated where they can read that, and it saves bytes.
    """
    kind, fields = TO_JSON[type(message)](message)
    version = VERSION
    body = json.dumps(fields, separators=(",", ":")).encode()
    if reads >= DEFLATED:
        deflated = zlib.compress(body)
        if len(deflated) < len(body) <= _most_of(deflated):
            version, body = DEFLATED, deflated
    headers = {
        "version": version,
        "type": kind,
        "sender": pen.region,
        "scheme": pen.scheme,
        "sent_at": pen.clock(),
    }
    if pen.key is not None:
        signature = pen.key.sign(_signed(headers, body))
        headers["signature"] = base64.b64encode(signature).decode()
    return headers, body


def decode(
    headers: Headers, body: bytes, trusted: Mapping[str, Trust], now: Stamp
) -> Received:
    """Reads a message of one of the peers that are trusted here, by name.

    ``now`` is our clock, against which stamps are judged.

    :raises BadMessage: it is forged, foreign, malformed or absurd. Nothing
        else comes out, whatever the bytes.
    """
    if len(body) > MAX_BODY:
        raise BadMessage(f"the body has {len(body)} bytes")
    _require_few_commas(body)
    trust = _verify(headers, body, trusted)
    kind = headers["type"]
    if kind not in FROM_JSON:
        raise BadMessage(
            f"unknown type {str(kind)[:40]!r}: a newer release may know it"
        )
    try:
        text = text_of(headers, body)
        _require_few_commas(text)
        message = FROM_JSON[kind](_parse(text), now)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BadMessage(f"malformed {kind}: {reason[:200]}") from error
    return Received(
        sender=trust.sender, sent_at=headers["sent_at"], message=message
    )


def _require_few_commas(text: bytes) -> None:
    commas = text.count(b",")
    if commas > MAX_COMMAS:
        raise BadMessage(f"the body has {commas} commas, as none of ours has")


def text_of(headers: Headers, body: bytes) -> bytes:
    """Returns what a body says, inflated where it is deflated.

    :raises ValueError: it is cut off, followed by something else, no
        deflated text at all, or longer than it may be. No more of it than
        that has been inflated then.
    """
    if headers.get("version") != DEFLATED:
        return body
    most = _most_of(body)
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(body, most + 1)
    except zlib.error as error:
        raise ValueError(f"it cannot be inflated: {error}") from error
    if len(text) > most:
        raise ValueError(f"it inflates to more than {most} bytes")
    if not inflater.eof or inflater.unused_data:
        raise ValueError("its end is not where its bytes end")
    return text


def _most_of(deflated: bytes) -> int:
    return min(MAX_INFLATED, MAX_INFLATION * len(deflated))


def _signed(headers: Headers, body: bytes) -> bytes:
    """Returns the bytes that a signature covers.

    Each field follows its length, so that none can lend bytes to another.
    """
    names = ("version", "type", "sender", "scheme", "sent_at")
    fields = [str(headers[name]).encode() for name in names]
    return b"".join(len(f).to_bytes(8) + f for f in (*fields, body))


def _verify(
    headers: Headers, body: bytes, trusted: Mapping[str, Trust]
) -> Trust:
    unreadable = headers.get(UNREADABLE)
    if isinstance(unreadable, str):
        raise BadMessage(f"unreadable: {unreadable[:200]}")
    _require_version(headers)
    for name in ("type", "sender", "scheme", "signature"):
        if not is_text(headers.get(name)):
            raise BadMessage(f"header {name} is missing, or no text")
    stamp(headers.get("sent_at"), 2**63, "header sent_at")
    trust = trusted.get(headers["sender"])
    if trust is None:
        raise BadMessage(
            f"sender {headers['sender'][:40]!r}, where only "
            f"{', '.join(trusted)} may speak"
        )
    try:
        signature = base64.b64decode(headers["signature"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadMessage("the signature is no base64") from error
    data = _signed(headers, body)
    if not any(key.verifies(signature, data) for key in trust.keys):
        raise BadMessage(
            f"signed with a key that [peer:{trust.sender}] public_keys "
            "does not list: add here what 'ec2map-sync key generate' has "
            f"printed in {trust.sender}, or see who else writes there"
        )
    if headers["scheme"] != trust.scheme:
        raise BadMessage(
            f"{trust.sender} derives ids under scheme "
            f"{headers['scheme'][:40]!r}, we under {trust.scheme!r}: "
            "[ec2_ids] hash_key differs; put the older regions' one into "
            "the newer region's configuration"
        )
    return trust


def _require_version(headers: Headers) -> None:
    """Tells on which side the older release is, before anything is read."""
    version = headers.get("version")
    if type(version) is int and version in {VERSION, DEFLATED}:
        return
    ours = f"{VERSION} and {DEFLATED}"
    reason = f"version {ascii(version)[:20]}, we speak {ours}"
    if type(version) is int:
        where = "here" if version > VERSION else "in the sender's region"
        reason += f": upgrade ec2map-sync {where}"
    raise BadMessage(reason)


def _parse(body: bytes) -> Json:
    fields = json.loads(
        body, object_pairs_hook=_no_duplicates, parse_constant=_no_constant
    )
    if not isinstance(fields, dict):
        raise ValueError("the body is no object")
    return fields


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> Json:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")
