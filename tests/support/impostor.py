"""A test in the place of a peer's agent: with its key, on its broker."""

from collections.abc import Iterable, Mapping
from typing import Any

import kombu
from fleet import Region

from ec2map_sync.protocol import wire
from ec2map_sync.protocol.signing import SigningKey
from ec2map_sync.rules.ec2id import Scheme
from ec2map_sync.rules.stamps import wall_clock


def pen_of(region: Region) -> wire.Pen:
    """Give what signs as the region does."""
    return wire.Pen(
        region=region.name,
        scheme=Scheme(b"tests").fingerprint,
        key=SigningKey.load(region.directory / f"{region.name}.key"),
        clock=wall_clock,
    )


def publish(
    url: str,
    many: Iterable[tuple[Mapping[str, Any], bytes]],
    *,
    exchange: str = "ec2map_sync",
    key: str = "claims",
    **properties: Any,
) -> None:
    """Bring messages to whoever reads there, and see that they are."""
    options = {"confirm_publish": True}
    with kombu.Connection(url, transport_options=options) as connection:
        producer = kombu.Producer(connection.channel())
        for headers, body in many:
            producer.publish(
                body,
                exchange=exchange,
                routing_key=key,
                headers=headers,
                content_type="application/json",
                **({"content_encoding": "binary"} | properties),
            )
