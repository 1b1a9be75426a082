"""Whatever happens between the regions, they come to the same mapping.

Each history is a seed: see `histories.py` for running one again, or many.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from histories import SKIRMISH, attempt_all
from simulation import skirmish
from simulation.history import (
    ANY,
    HOUR,
    OUTLAWS,
    PUSHED,
    SERIAL,
    Outcome,
    Profile,
    World,
    run,
)
from simulation.memory import OnDisk
from simulation.region import Parts, Region

from ec2map_sync.rules.claims import Sighting
from ec2map_sync.rules.ec2id import Kind

HISTORIES = int(os.environ.get("EC2MAP_SYNC_HISTORIES", "16"))
ATTACKED = int(
    os.environ.get("EC2MAP_SYNC_ATTACKED_HISTORIES", HISTORIES // 5)
)
SKIRMISHES = int(os.environ.get("EC2MAP_SYNC_SKIRMISHES", HISTORIES * 6))
FIRST_SEED = int(os.environ.get("EC2MAP_SYNC_FIRST_SEED", "0"))

pytestmark = pytest.mark.timeout(900)  # they may share the machine


def outcomes(profile: Profile, count: int) -> list[Outcome]:
    print(f"seeds {FIRST_SEED} to {FIRST_SEED + count - 1}")
    results = list(attempt_all(range(FIRST_SEED, FIRST_SEED + count), profile))
    wrong = [result for result in results if isinstance(result, str)]
    if wrong:
        pytest.fail(f"{len(wrong)} of {count}; the first:\n{wrong[0]}")
    return [result for result in results if isinstance(result, Outcome)]


def test_after_all_faults_every_region_has_what_all_claims_give():
    found = outcomes(ANY, HISTORIES)

    # Else it would show nothing: numbers collide, and everything happens.
    assert sum(outcome.moved for outcome in found) > HISTORIES
    happened = {name for outcome in found for name in outcome.counts}
    assert happened >= {"restore", "join", "leave", "adopt", "cut"}


def test_no_number_moves_if_each_claim_is_everywhere_before_the_next():
    found = outcomes(SERIAL, HISTORIES // 2)

    assert sum(outcome.claims for outcome in found) > HISTORIES


def test_what_is_pushed_arrives_across_crashes_without_comparing():
    outcomes(PUSHED, HISTORIES // 2)


def test_outlaws_take_a_few_numbers_and_honest_regions_agree():
    """Nor with mad clocks: what is held, an operator takes in each region."""
    found = outcomes(OUTLAWS, ATTACKED)

    assert sum(outcome.counts["attack"] for outcome in found) > ATTACKED
    assert sum(outcome.held for outcome in found) > ATTACKED
    assert sum(outcome.moved for outcome in found) > ATTACKED


def test_of_many_attacks_none_takes_more_than_it_may():
    """Nor is anything agreed upon that differs meanwhile."""
    found = outcomes(SKIRMISH, SKIRMISHES)

    attacks = sum(outcome.counts.get("attack", 0) for outcome in found)
    assert attacks > SKIRMISHES
    assert sum(outcome.evicted for outcome in found) > SKIRMISHES
    assert sum(outcome.held for outcome in found) > SKIRMISHES


@pytest.mark.parametrize("seed", range(6))
def test_an_attack_on_a_ledger_in_memory_ends_as_on_one_that_lasts(seed):
    assert skirmish.run(seed) == skirmish.run(seed, ledger=OnDisk)


def test_a_history_is_the_same_every_time():
    assert run(7, ANY) == run(7, ANY)


RNG = Random(1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    profile = Profile(regions=[2], longest_skew=0, serial=True)
    world = World(1, profile, Parts(), tmp_path)
    yield world
    world.close()


def tell(region: Region, image: str, kind: Kind | None = None) -> None:
    region.notifications.append(Sighting(image=image, uuid=image, kind=kind))


def test_a_lost_kind_is_found_though_a_fast_clock_has_made_the_claim(world):
    one, two = world.living
    image = world.images[0]
    one.skew = 5 * HOUR
    tell(one, image)
    world.converge(RNG)
    for _ in range(8):
        world.round(RNG)  # nobody compares any more
    tell(two, image, Kind.AKI)
    for process in two.processes:
        if process.name in {"listener", "publisher"}:
            world.step(two, process)

    world.network.brokers[two.name].queues[one.name].waiting.clear()
    world.converge(RNG)

    assert one.claims[image].kind == two.claims[image].kind


def test_a_ledger_that_is_emptied_under_its_agent_comes_back(world):
    one, two = world.living
    first, second = world.images[:2]
    tell(one, first)
    world.converge(RNG)
    world.network.cut(one.name, two.name)
    tell(two, second)
    for _ in range(30):
        world.round(RNG)  # a pull from the other one brings nothing

    two.empty_under_agent()
    for _ in range(30):
        world.round(RNG)

    assert first in two.claims
