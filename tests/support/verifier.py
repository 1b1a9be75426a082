"""Whether notes and proofs hold: written from doc/source/agreement.rst alone.

Nothing of ec2map-sync is used here, so that the page is what is tested.
"""

import base64
import json
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ed25519


def root(leaves: list[bytes]) -> bytes:
    """Give the root of a tree (RFC 6962, 2.1)."""
    if len(leaves) < 2:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()


def climb(leaf: bytes, index: int, count: int, path: list[bytes]) -> bytes:
    """Give the root to which a path leads (RFC 6962, 2.1.1)."""
    if count == 1:
        assert not path
        return sha256(b"\0" + leaf).digest()
    k = 1 << (count - 1).bit_length() - 1
    *below, beside = path
    if index < k:
        node = climb(leaf, index, k, below) + beside
    else:
        node = beside + climb(leaf, index - k, count - k, below)
    return sha256(b"\1" + node).digest()


def data_of(text: str) -> bytes:
    """Read base64 that has no loose bits at its end."""
    data = base64.b64decode(text, validate=True)
    assert base64.b64encode(data).decode() == text
    return data


def signers(note: str, keys: dict[str, bytes]) -> tuple[str, set[str]]:
    """Give a note's text, and who of those whose keys we have signed it."""
    text, _, signatures = note.rpartition("\n\n")
    text, found = text + "\n", set()
    *lines, end = signatures.split("\n")
    assert end == ""
    for line in lines:
        dash, name, value = line.split(" ")
        data, key = data_of(value), keys.get(name, b"")
        key_id = sha256(name.encode() + b"\n\1" + key).digest()[:4]
        if dash == "—" and key and data[:4] == key_id:
            public = ed25519.Ed25519PublicKey.from_public_bytes(key)
            public.verify(data[4:], text.encode())
            found.add(name)
    return text, found


def proved(proof: str, keys: dict[str, bytes]) -> dict[str, object]:
    """Give the entry that a proof proves; all whose keys we have sign."""
    head, _, note = proof.partition("\n\n")
    name, entry, index, *path = head.split("\n")
    text, signed = signers(note, keys)
    assert (name, signed) == ("ec2map-sync/proof/v1", set(keys))
    _origin, _until, count, _claims, mapping = text[:-1].split("\n")
    assert 0 <= int(index) < int(count)
    hashes = [data_of(one) for one in path]
    found = climb(entry.encode(), int(index), int(count), hashes)
    assert base64.b64encode(found).decode() == mapping
    return dict(json.loads(entry))
