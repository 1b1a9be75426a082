"""Canaries: markers that regions claim to see how they reach their peers.

They are claimed as images are, published, recorded and compared as they are,
and wish for no number: no sink ever gets one. Their UUIDs are of a kind that
nobody else makes (version 8 of RFC 9562), and begin with the same digits.
"""

from hashlib import blake2b

SPACE = "ec2ca9a7-ca9a-8"
"""How the UUIDs of all canaries begin."""


def is_canary(image: str) -> bool:
    """Returns whether an image's key is that of a canary."""
    return image.startswith(SPACE)


def canary_of(region: str, moment: int) -> str:
    """Returns the UUID of a region's canary of a moment.

    ``moment`` counts intervals since 1970. The same on every host of a
    region, so that a moment has one canary whoever is first.
    """
    return f"{space_of(region)}{moment & 0xFFFFFFFFFFFF:012x}"


def space_of(region: str) -> str:
    """Returns how the UUIDs of a region's canaries begin."""
    digits = blake2b(region.encode(), digest_size=3).hexdigest()
    return f"{SPACE}{digits[:3]}-8{digits[3:]}-"
