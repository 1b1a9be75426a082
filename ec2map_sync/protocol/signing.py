"""Ed25519 keys (RFC 8032): who may speak for a region."""

import base64
import binascii
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from ec2map_sync.rules.errors import ConfigError

_PREFIX = "ed25519:"


def _is_open(status: os.stat_result) -> bool:
    """Tells whether others may do something with a key.

    What root owns, a group may read to which root has given it, nearly as
    PostgreSQL has it: a file that Kubernetes mounts for who is not root is
    never that user's own.
    """
    given = status.st_uid == 0 and status.st_gid != 0
    group = stat.S_IWGRP | stat.S_IXGRP if given else stat.S_IRWXG
    return bool(status.st_mode & (group | stat.S_IRWXO))


class SigningKey:
    """A region's private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "SigningKey":
        """Makes a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Reads a key file (PKCS #8, PEM).

        :raises ConfigError: there is none, others than its owner may do
            something with it (a group to which root has given its own may
            read it), or it is no Ed25519 key.
        """
        try:
            with path.open("rb") as file:
                status, pem = os.fstat(file.fileno()), file.read()
        except OSError as error:
            raise ConfigError(
                f"signing key {path}: {error.strerror}; make one with "
                f"'ec2map-sync key generate {path}'"
            ) from error
        if _is_open(status):
            raise ConfigError(
                f"signing key {path} is open to others: 'chmod 600 {path}', "
                "or make a new one if somebody may have read it"
            )
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(
                f"signing key {path} is no private key in PEM form"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"signing key {path} is no Ed25519 key")
        return cls(key)

    def save(self, path: Path) -> None:
        """Writes the key to a new file that only its owner can read.

        :raises ConfigError: the file exists, or cannot be written.
        """
        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            opened = os.open(path, flags, 0o600)
        except FileExistsError as error:
            raise ConfigError(
                f"{path} exists and is kept; choose another name, or move it"
            ) from error
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        try:
            with os.fdopen(opened, "wb") as file:
                file.write(pem)
        except OSError as error:
            path.unlink()  # half a key is none, and in the way of the next
            raise ConfigError(f"{path}: {error.strerror}") from error

    @property
    def public(self) -> str:
        """The public key as text, for the peers' configuration."""
        raw = self._key.public_key().public_bytes_raw()
        return _PREFIX + base64.b64encode(raw).decode()

    def sign(self, data: bytes) -> bytes:
        """Signs; 64 bytes."""
        return self._key.sign(data)


class PublicKey:
    """A peer's public key."""

    def __init__(self, text: str) -> None:
        """Reads ``ed25519:<base64 of 32 bytes>``.

        :raises ConfigError: the text is something else.
        """
        try:
            raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
            if not text.startswith(_PREFIX):
                raise ValueError
            self._key = Ed25519PublicKey.from_public_bytes(raw)
        except (binascii.Error, ValueError) as error:
            raise ConfigError(
                f"{text[:60]!r} is no public key (ed25519:…, as "
                "'ec2map-sync key generate' prints it)"
            ) from error

    @property
    def raw(self) -> bytes:
        """The key as 32 bytes."""
        return self._key.public_bytes_raw()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Returns whether the holder of the private key has signed this."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True
