"""Certificates that nobody has signed but their own key; and the machine's."""

import datetime
import ipaddress
from functools import wraps
from pathlib import Path
from typing import Any

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(path: Path, *addresses: str) -> Path:
    """Write a self-signed certificate for addresses, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def read_once() -> None:
    """Let PyMySQL read the machine's certificates once in this process.

    For connections without TLS it reads all of them each time, which was
    half of what tests that look into databases cost.
    """
    make = pymysql.Connection._create_ssl_ctx
    made: list[Any] = []

    @wraps(make)
    def shared(self: object, given: Any) -> Any:
        if given:
            return make(self, given)
        if not made:
            made.append(make(self, given))
        return made[0]

    pymysql.Connection._create_ssl_ctx = shared
