"""Ids in templates: what is one, where it stands, and what takes its place."""

import codecs

import pytest
from hypothesis import given, strategies as st

from ec2map_sync.rules.templates import Template


def found(text):
    return [(m.line, m.column, m.ec2_id) for m in Template(text).mentions()]


@pytest.mark.parametrize(
    "text",
    [
        '"ImageId": "{}",',
        "image_id = {}",
        "ami:{};",
        "<Image>{}</Image>",
        "--image-id={}",
        "https://ec2.example/?ImageId.1={}&x=1",
        "copy-of-{}-old",
        "x_{}_y",
        "{}.",
        "ü{}ü",
    ],
)
@pytest.mark.parametrize("ec2_id", ["ami-1f2e3d4c", "aki-00000001"])
def test_an_id_is_found_wherever_it_stands(text, ec2_id):
    assert found(text.format(ec2_id)) == [(1, text.index("{") + 1, ec2_id)]


@pytest.mark.parametrize(
    "text",
    [
        "ami-1f2e3d4",
        "ami-1f2e3d4c5",
        "ami-1f2e3d4g",
        "xami-1f2e3d4c",
        "3ami-1f2e3d4c",
        "eri-1f2e3d4c",
        "ami_1f2e3d4c",
        "ami-0123456789abcdef0",
        "i-1f2e3d4c",
    ],
)
def test_what_is_no_id_of_eight_digits_is_none(text):
    assert found(text) == []


def test_ids_of_aws_are_counted():
    text = "ami-0123456789abcdef0 ari-0123456789ABCDEF0 ami-0123456789abcdef"

    assert Template(text).of_aws() == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_and_columns_are_counted_from_one(end):
    text = end.join(["", "  ami-1f2e3d4c, ARI-00000002", "é aki-0000000a", ""])

    assert found(text) == [
        (2, 3, "ami-1f2e3d4c"),
        (2, 17, "ari-00000002"),
        (3, 3, "aki-0000000a"),
    ]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("latin-1", b""),
        ("cp1252", b""),
    ],
)
def test_a_file_in_any_encoding_keeps_it(encoding, mark):
    text = "größe: 1\r\nimage: {}\r\n"

    template = Template.read(
        mark + text.format("ami-00000007").encode(encoding)
    )

    assert [(m.line, m.column) for m in template.mentions()] == [(2, 8)]
    assert template.replaced({"ami-00000007": "aki-1f2e3d4c"}) == (
        mark + text.format("aki-1f2e3d4c").encode(encoding)
    )


@pytest.mark.parametrize(
    "data", [b"\x7fELF\0ami-1f2e3d4c", codecs.BOM_UTF16_LE + b"\x00\xd8x"]
)
def test_what_is_no_text_is_none(data):
    assert Template.read(data) is None


def test_only_ids_that_have_another_are_replaced():
    text = "ami-00000001 AMI-00000001 ami-000000012 ami-00000002"

    assert Template(text).replaced({"ami-00000001": "ami-1f2e3d4c"}) == (
        b"ami-1f2e3d4c ami-1f2e3d4c ami-000000012 ami-00000002"
    )


@given(st.binary())
def test_a_text_in_which_nothing_is_replaced_stays_as_it_is(data):
    template = Template.read(data)

    assert template is None or template.replaced({}) == data


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("ami-1f2e3d4 ami-1f2e3d4c5 AKI-0123456789ABCDEF", 3),
        ("ami-1f2e3d4c ami-0123456789abcdef0 ami-feed ami-base", 0),
        ("xami-1f2e3d4 ami-1f2e3d4z", 0),
    ],
)
def test_what_has_a_digit_too_many_or_few_is_counted(text, count):
    assert Template(text).miscounted() == count


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("bits", [16, 32])
def test_wide_characters_are_read_and_written_as_they_were(bits, order):
    mark = getattr(codecs, f"BOM_UTF{bits}_{order.upper()}")
    encoding = f"utf-{bits}-{order}"
    data = mark + "ü: ami-1f2e3d4c".encode(encoding)

    template = Template.read(data)

    assert [m.ec2_id for m in template.mentions()] == ["ami-1f2e3d4c"]
    assert template.replaced({}) == data
    new = template.replaced({"ami-1f2e3d4c": "ami-0000002a"})
    assert new == mark + "ü: ami-0000002a".encode(encoding)
