"""Three regions under load sign the same notes, and prove by them."""

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
import verifier
from commands import run
from fleet import Load, Region, await_reading, running
from patience import wait_until

from ec2map_sync.protocol.signing import PublicKey

pytestmark = pytest.mark.services

NAMES = ("RegionOne", "RegionTwo", "RegionThree")


@pytest.fixture(scope="module")
def regions(rabbit_a, rabbit_b, mariadb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("agreements")
    brokers = (rabbit_a, rabbit_b, rabbit_a)
    regions = [
        Region(name, broker, mariadb, directory)
        for name, broker in zip(NAMES, brokers, strict=True)
    ]
    for region in regions:
        peers = (r for r in regions if r is not region)
        region.configure(*peers, extra="\n[agreement]\ninterval = 1\n")
    with running(*regions):
        for reader in regions:
            for peer in regions:
                if peer is not reader:
                    await_reading(reader, peer)
        yield regions


def note(region, at):
    return region.command("agreement", "show", "--at", at)


def text_of(signed):
    return signed.rpartition("\n\n")[0]


def keys(regions):
    given = ((f"{r.name}={r.public_key}") for r in regions)
    return [part for key in given for part in ("--key", key)]


@pytest.mark.long
def test_three_regions_under_load_sign_one_note(regions, tmp_path):
    one, two, three = regions
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(r.glance, 0.5)) for r in regions]
        for load in loads:
            load.await_more(10)
        at = datetime.fromtimestamp(time.time(), UTC).isoformat()

        def agree():
            # What was claimed before may still be on its way.
            return len({text_of(note(region, at)) for region in regions}) == 1

        wait_until(agree, 60)
        for load in loads:
            load.await_more(1)
        files = [tmp_path / name for name in NAMES]
        files[1].write_text(note(two, at))
        files[2].write_text(note(three, at))
        others = "--note", str(files[1]), "--note", str(files[2])
        files[0].write_text(one.command("agreement", "show", *others))
        proof = tmp_path / "proof"
        image = loads[1].confirmed[0]
        arguments = ["prove", image, "--note", str(files[0])]
        three.command("agreement", *arguments, "-o", str(proof))

    for file in (files[0], proof):
        said = one.command(
            *("agreement", "verify", str(file), *keys(regions), "-f", "json"),
            configured=False,
        )
        agreed = json.loads(said)
        assert set(agreed["signed_by"].split()) == set(NAMES)
        assert agreed["count"] >= 30
    assert agreed["image"] == image
    raw = {r.name: PublicKey(r.public_key).raw for r in regions}
    assert verifier.proved(proof.read_text(), raw)["image"] == image
    assert len(proof.read_bytes()) < 2000


def history(region):
    """Give what all have signed, by its moment."""
    said = region.command("agreement", "history", "-f", "json")
    return {n["at"]: n for n in json.loads(said) if not n["missing"]}


def test_agents_sign_the_same_and_tell_each_other(regions, tmp_path):
    """Nobody asks, and nobody runs a command."""
    one, _, three = regions
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(r.glance, 0.5)) for r in regions]
        for load in loads:
            load.await_more(5)
        image = loads[0].confirmed[0]
        begun = datetime.now(UTC).isoformat()

        def agreed():
            """Give the moments that each region says all have signed."""
            found = [history(region) for region in regions]
            moments = set.intersection(*map(set, found))
            return {at for at in moments if at > begun}, found

        wait_until(lambda: agreed()[0], 60)
        moments, found = agreed()

    for at in moments:
        roots = {(notes[at]["count"], notes[at]["root"]) for notes in found}
        assert len(roots) == 1
        assert set(found[0][at]["signed_by"].split()) == set(NAMES)
    proof = tmp_path / "proof"
    three.command("agreement", "prove", image, "-o", str(proof))
    raw = {r.name: PublicKey(r.public_key).raw for r in regions}
    assert verifier.proved(proof.read_text(), raw)["image"] == image
    assert "refused" not in one.log()


def test_a_region_that_lost_a_claim_is_found_out_by_its_note(
    regions, tmp_path
):
    """What somebody has edited does not go unnoticed, and is told."""
    one, two, _ = regions
    one.glance.create(3)
    at = datetime.fromtimestamp(time.time() + 1, UTC).isoformat()
    wait_until(lambda: datetime.now(UTC).isoformat() > at)
    wait_until(lambda: text_of(note(one, at)) == text_of(note(two, at)), 60)
    file = tmp_path / "note"
    two.stop()
    two.sql("ledger", "UPDATE claims SET kind = 'ari' LIMIT 1")
    file.write_text(note(two, at))

    asked = "agreement", "show", "--note", str(file)
    done = run(*asked, "--config-file", str(one.config_file))

    assert done.code == 1
    assert "RegionTwo signed something else: of some images" in done.stderr
