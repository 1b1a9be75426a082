"""The page can be read without scripts, and nothing in it is one."""

import re

import pytest
from asking import client
from commands import SmallRegion

from ec2map_sync.rules.claims import Claim

IMAGE = "2a3d51d7-356a-45c5-aa8e-34d805812a68"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    region = SmallRegion(tmp_path_factory.mktemp("page"))
    region.ledger.record([Claim(claimed_at=7, image=IMAGE)])
    region.ledger.journal.note_peer(
        "RegionTwo",
        received_at=7,
        sees='[["RegionOne", "agrees", 7, 0], ["<b>", "silent", null, null],'
        r'["\ud800", "silent", null, null]]',
    )
    return client(region)


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline(asked):
    answer = asked.simulate_get("/")

    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not re.search(
        r"<script(?![^>]* src=)|<style| style=| on\w+=", answer.text
    )
    loaded = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(loaded) > 3
    for path in loaded:
        assert path.startswith("/")
        assert asked.simulate_get(path).status_code == 200


def test_what_regions_and_clients_say_is_text(asked):
    answer = asked.simulate_get("/", params={"name": "<script>x</script>"})

    assert "<script>x" not in answer.text
    assert "&lt;script&gt;x" in answer.text
    assert "<b>" not in answer.text
    assert '<th scope="row">&lt;b&gt;</th>' in answer.text


def test_an_image_is_explained_without_scripts(asked):
    answer = asked.simulate_get("/", params={"name": f" {IMAGE.upper()} "})

    assert f"{IMAGE} is ami-" in answer.text
    assert "BLAKE2b" in answer.text


def test_a_silent_regions_view_is_not_shown_as_if_it_were_so_now(asked):
    text = asked.simulate_get("/").text

    assert 'class="bad">silent' in text
    assert 'class="none">unknown<small>until' in text
