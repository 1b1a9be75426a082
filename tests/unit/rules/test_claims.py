"""Claims join in any order, and make up prints that add."""

import pytest
from hypothesis import given, strategies as st

from ec2map_sync.rules.claims import (
    Claim,
    SeenKind,
    Sighting,
    Wanted,
    claim_of,
    join,
    join_all,
    print_of,
)
from ec2map_sync.rules.ec2id import Kind

IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"
stamps = st.integers(1, 9)
claims = st.builds(
    Claim,
    claimed_at=stamps,
    image=st.just(IMAGE),
    spelling=st.sampled_from(["", IMAGE.upper(), IMAGE.title()]),
    wanted=st.none() | st.builds(Wanted, stamps, st.integers(1, 9)),
    kind=st.none() | st.builds(SeenKind, stamps, st.sampled_from(Kind)),
)


@given(claims, claims)
def test_joining_commutes(one, two):
    assert join(one, two) == join(two, one)


@given(claims, claims, claims)
def test_joining_associates(one, two, three):
    assert join(join(one, two), three) == join(one, join(two, three))


@given(claims, claims)
def test_joining_again_changes_nothing(one, two):
    both = join(one, two)

    assert join(both, one) == both


@given(claims, claims)
def test_claims_with_the_same_hash_are_the_same(one, two):
    assert (one.hash == two.hash) == (one == two)


@given(st.lists(claims), st.lists(claims))
def test_prints_add_and_subtract(some, more):
    assert print_of(some) + print_of(more) == print_of(some + more)
    assert print_of(some + more) - print_of(more) == print_of(some)


@given(st.lists(claims, min_size=1))
def test_all_claims_of_an_image_become_one(several):
    (joined,) = join_all(several).values()

    assert joined.claimed_at == min(c.claimed_at for c in several)


def test_a_sighting_of_an_unknown_image_is_a_claim():
    sighting = Sighting(image=IMAGE, uuid=IMAGE.upper(), kind=Kind.AKI)

    claim = claim_of(sighting, None, 7)

    assert claim == Claim(
        claimed_at=7,
        image=IMAGE,
        spelling=IMAGE.upper(),
        kind=SeenKind(7, Kind.AKI),
    )


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        (None, Wanted(7, 5)),
        (Claim(claimed_at=3, image=IMAGE), Wanted(7, 5)),
        (
            Claim(claimed_at=3, image=IMAGE, wanted=Wanted(4, 9)),
            Wanted(4, 9),
        ),
    ],
)
def test_an_id_that_was_promised_is_wanted_unless_another_one_was(
    known, wanted
):
    sighting = Sighting(
        image=IMAGE, uuid=IMAGE, kind=Kind.AMI, wanted=5, fills_only=True
    )

    claim = claim_of(sighting, known, 7)

    assert claim is not None
    assert (join(known, claim) if known else claim).wanted == wanted


def test_a_wanted_id_is_news_once():
    sighting = Sighting(image=IMAGE, uuid=IMAGE, wanted=5)
    known = claim_of(sighting, None, 7)

    assert known is not None
    assert claim_of(sighting, known, 8) is None
    assert claim_of(Sighting(image=IMAGE, uuid=IMAGE, wanted=6), known, 8) is (
        None
    )


def test_a_known_image_keeps_the_time_of_its_claim():
    known = Claim(claimed_at=3, image=IMAGE)

    claim = claim_of(
        Sighting(image=IMAGE, uuid=IMAGE, kind=Kind.ARI), known, 7
    )

    assert claim is not None
    assert join(known, claim).claimed_at == 3
    assert join(known, claim).kind == SeenKind(7, Kind.ARI)
