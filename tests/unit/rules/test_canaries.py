"""Canaries: UUIDs that are no image's, and wish for no number."""

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given, strategies as st

from ec2map_sync.rules.canaries import canary_of, is_canary, space_of
from ec2map_sync.rules.claims import Claim, Wanted, sighting_of
from ec2map_sync.rules.ec2id import Scheme, image_key
from ec2map_sync.rules.errors import BadId
from ec2map_sync.rules.settle import settle, wishes

regions = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
moments = st.integers(0, 2**60)


@given(regions, moments)
def test_a_canary_has_a_uuid_that_nobody_else_makes(region, moment):
    canary = canary_of(region, moment)

    assert image_key(canary) == canary
    assert UUID(canary).variant == RFC_4122
    assert UUID(canary).version == 8
    assert is_canary(canary)
    assert canary.startswith(space_of(region))


@given(st.uuids(version=4))
def test_what_glance_makes_is_none(uuid):
    assert not is_canary(str(uuid))


def test_regions_and_moments_have_their_own():
    found = {
        canary_of(region, moment)
        for region in ("RegionOne", "RegionTwo", "regionone")
        for moment in range(3)
    }

    assert len(found) == 9


def test_it_wishes_for_nothing_and_takes_nothing_from_images():
    scheme = Scheme()
    image = "2a3d51d7-356a-45c5-aa8e-34d805812a68"
    claims = [
        Claim(
            claimed_at=1,
            image=canary_of("RegionOne", 1),
            wanted=Wanted(1, scheme.derive(image)),
        ),
        Claim(claimed_at=2, image=image),
    ]

    assert wishes(claims[0]) == []
    assert settle(claims, scheme) == {image: scheme.derive(image)}


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_a_tenant_cannot_have_an_image_that_passes_for_one(spelled):
    with pytest.raises(BadId, match="canary"):
        sighting_of(spelled(canary_of("RegionOne", 1)))
