"""Where a broker is, and how its certificate is checked."""

from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

_FILES = ("ca_file", "cert_file", "key_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What a broker is checked with: files, and whether its name counts."""

    ca_file: str | None = None
    """Who signs certificates; without it, those that the system trusts."""
    cert_file: str | None = None
    key_file: str | None = None
    verify_host: bool = True


@dataclass(frozen=True, slots=True)
class Address:
    """A broker, or a cluster of them; None of `Tls` is none at all."""

    urls: str = field(repr=False)
    """As kombu takes them, with ';' between those of a cluster."""
    tls: Tls | None = None

    @classmethod
    def read(cls, text: str, tls: Tls) -> Self:
        """Reads URLs; ``tls`` holds if one of them is amqps://.

        Files that they name themselves (``?ca_file=``) stand in for it.
        """
        plain: list[str] = []
        files: dict[str, Any] = {}
        for url in text.split(";"):
            place, _, query = url.partition("?")
            given = dict(parse_qsl(query))
            files |= {n: given.pop(n) for n in _FILES if n in given}
            plain.append(f"{place}?{urlencode(given)}" if given else place)
        secure = any(url.startswith("amqps:") for url in plain)
        named = Tls(**files) if files else tls
        return cls(";".join(plain), named if secure else None)

    @property
    def nodes(self) -> int:
        """How many brokers are named."""
        return len(self.urls.split(";"))

    @property
    def in_memory(self) -> bool:
        """Whether it is kombu's, within this process."""
        return self.urls.startswith("memory:")


def joined(host: str, port: int) -> str:
    """Writes host:port; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
