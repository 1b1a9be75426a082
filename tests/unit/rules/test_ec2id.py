"""Ids: bands, kinds, probes."""

import pytest
from hypothesis import given, strategies as st

from ec2map_sync.rules.ec2id import (
    DERIVED,
    LEGACY,
    ON_DEMAND,
    PROBES,
    Band,
    Kind,
    Scheme,
    cut_short,
    format_id,
    image_key,
    kind_of,
    parse_id,
)
from ec2map_sync.rules.errors import BadId

uuids = st.uuids().map(str)
bounds = st.from_regex(r"[0-9a-f-]{0,40}", fullmatch=True) | st.builds(
    lambda uuid, size, more: uuid[:size] + more,
    uuids,
    st.integers(0, 36),
    st.text("09af-", max_size=4),
)


@given(uuids, bounds)
def test_a_text_that_is_no_key_divides_keys_as_one_does(key, text):
    divider, beyond = cut_short(text)

    assert image_key(divider) == divider
    assert (key < text) == (key <= divider if beyond else key < divider)


@given(uuids, st.integers(0, 36), st.sampled_from(["", "0", "-", "f", "00"]))
def test_so_does_a_text_that_begins_as_a_key(key, size, more):
    text = key[:size] + more
    divider, beyond = cut_short(text)

    assert (key < text) == (key <= divider if beyond else key < divider)


def test_the_bands_lie_side_by_side_and_end_where_nova_does():
    assert LEGACY.first == 1
    assert LEGACY.stop == DERIVED.first
    assert DERIVED.stop == ON_DEMAND.first
    assert ON_DEMAND.stop == 2**31


@given(uuids, st.binary(max_size=64))
def test_every_probe_lies_in_the_band(image, key):
    scheme = Scheme(key)

    assert all(number in DERIVED for number in scheme.probes(image))
    assert len(list(scheme.probes(image))) == PROBES


@given(uuids)
def test_the_spelling_makes_no_difference(image):
    assert Scheme().derive(image.upper()) == Scheme().derive(image)


@given(uuids)
def test_another_key_gives_another_number(image):
    numbers = {Scheme(bytes([n])).derive(image) for n in range(8)}

    assert len(numbers) > 1


def test_the_fingerprint_tells_keys_and_bands_apart():
    schemes = [Scheme(), Scheme(b"k"), Scheme(band=Band(1, 9))]

    assert len({scheme.fingerprint for scheme in schemes}) == len(schemes)


@given(uuids, st.integers(0, PROBES - 1))
def test_a_row_of_ours_is_recognised(image, attempt):
    scheme = Scheme(b"k")

    assert scheme.could_derive(image, scheme.probe(image, attempt))
    assert not scheme.could_derive(image, 5)


@given(st.integers(1, 2**32 - 1), st.sampled_from(Kind))
def test_an_id_is_read_as_it_was_written(number, kind):
    assert parse_id(format_id(number, kind)) == (kind, number)


def test_an_unknown_kind_reads_as_ami():
    assert format_id(1) == "ami-00000001"


@pytest.mark.parametrize("text", ["", "ami-", "ami-xyz", "i-00000001", "ami1"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(BadId):
        parse_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "x", "71ed3a2c33a04d3c9d4e2f6c6f2b6c34", "ami-00000001", "g" * 36],
)
def test_what_is_no_uuid_is_refused(text):
    with pytest.raises(BadId):
        image_key(text)


@pytest.mark.parametrize(
    ("container_format", "kind"),
    [
        (None, None),
        ("", None),
        ("bare", Kind.AMI),
        ("ami", Kind.AMI),
        ("ovf", Kind.AMI),
        ("aki", Kind.AKI),
        ("KERNEL", Kind.AKI),
        ("ari", Kind.ARI),
        ("ramdisk", Kind.ARI),
    ],
)
def test_the_kind_follows_from_the_container_format(container_format, kind):
    assert kind_of(container_format) is kind
