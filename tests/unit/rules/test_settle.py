"""Settling: the same set gives the same mapping, in any order."""

import random
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given, strategies as st

from ec2map_sync.rules.claims import Claim, Wanted, join, join_all
from ec2map_sync.rules.ec2id import Band, Scheme
from ec2map_sync.rules.settle import Board, Eviction, Slot, settle, wishes

SMALL = Scheme(b"test", Band(100, 132))


def image(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012x}"


class Memory:
    """A ledger's slots in a dictionary, stored anew after each batch."""

    def __init__(self, scheme: Scheme, board: type[Board] = Board) -> None:
        self.scheme = scheme
        self.board = board
        self.slots: dict[int, Slot] = {}
        self.claims: dict[str, Claim] = {}
        self.mapping: dict[str, int] = {}
        self.evictions: list[Eviction] = []
        """Of the latest batch."""
        self.causes: dict[str, str] = {}
        """Of the latest batch: who has moved, and because of whom."""

    def seats(self) -> dict[int, str]:
        return {n: s.wish.image for n, s in self.slots.items() if s.wish}

    def copy(self) -> "Memory":
        copied = Memory(self.scheme, self.board)
        copied.slots = self._load(self.slots)
        copied.claims, copied.mapping = {**self.claims}, {**self.mapping}
        return copied

    def _load(self, numbers):
        return {
            n: Slot(s.wish, set(s.passed))
            for n in numbers
            if (s := self.slots.get(n))
        }

    def record(self, batch) -> None:
        board = self.board(self.scheme, self._load)
        for claim in batch:
            known = self.claims.get(claim.image)
            joined = join(known, claim) if known else claim
            board.replace(wishes(known) if known else [], wishes(joined))
            self.claims[claim.image] = joined
        board.run()
        self.evictions = board.evictions()
        for number in board.touched:
            self.slots[number] = board.slots[number]
        self.causes = {}
        for key in board.images:
            number = board.number_of(self.claims[key])
            old = self.mapping.pop(key, None)
            if old not in {None, number}:
                self.causes[key] = board.cause(self.claims[key], old)
            if number is not None:
                self.mapping[key] = number


claims = st.builds(
    Claim,
    claimed_at=st.integers(1, 60),
    image=st.integers(0, 47).map(image),
    wanted=st.none()
    | st.builds(
        Wanted, st.integers(1, 60), st.integers(1, 4) | st.integers(100, 131)
    ),
)
batches = st.lists(st.lists(claims, max_size=6), max_size=30)


@given(batches)
def test_step_by_step_is_as_from_scratch(history):
    memory = Memory(SMALL)

    for batch in history:
        memory.record(batch)
        assert memory.mapping == settle(memory.claims.values(), SMALL)


def histories(count: int, seed: int):
    rng = random.Random(seed)
    for _ in range(count):
        yield [
            [
                Claim(
                    claimed_at=rng.randint(1, 80),
                    image=image(rng.randrange(40)),
                    wanted=Wanted(rng.randint(1, 80), rng.randint(95, 131))
                    if rng.random() < 0.15
                    else None,
                )
                for _ in range(rng.randint(1, 3))
            ]
            for _ in range(rng.randint(5, 40))
        ]


def goes_wrong(board: type[Board], count: int, seed: int) -> bool:
    for history in histories(count, seed):
        memory = Memory(SMALL, board)
        for batch in history:
            memory.record(batch)
        if memory.mapping != settle(memory.claims.values(), SMALL):
            return True
    return False


@pytest.mark.search
def test_a_thousand_crowded_histories_settle_as_from_scratch():
    assert not goes_wrong(Board, 1000, seed=20240501)


class ForgetsToLookAgain(Board):
    """The mutant: who passed a seat that was left stays where it is."""

    def _leave(self, number, slot):
        queue = list(self._queue)
        super()._leave(number, slot)
        self._queue[:] = queue


class LooksAgainOnlyIfFree(Board):
    """The mutant: nobody is looked at again once the seat is retaken."""

    def _look(self, wish):
        taken = [
            n
            for n in wish.choices(self._scheme)
            if wish in self.slot(n).passed and self.slot(n).wish is not None
        ]
        if not taken or wish in self._new or self.seat(wish) is None:
            super()._look(wish)


class SeatsWhereSomebodyIs(Board):
    """The mutant: a new wish sits at once, whoever sits there already."""

    def _sits_at_once(self, wish):
        if wish not in self._new:
            return False
        self._new.remove(wish)
        self._sit(wish, self._first_of(wish))
        return True


@pytest.mark.parametrize("size", [1, 7, 30])
def test_pages_of_a_whole_set_settle_as_from_scratch(size):
    """In order, as a newcomer takes them over, and in any other one."""
    for history in histories(100, seed=20240504):
        claims = list(join_all(chain.from_iterable(history)).values())
        for some in (claims, sorted(claims, key=lambda c: c.bound)):
            memory = Memory(SMALL)
            for at in range(0, len(some), size):
                memory.record(some[at : at + size])

            assert memory.mapping == settle(claims, SMALL)


def test_a_board_that_lets_new_wishes_sit_on_others_is_caught():
    assert goes_wrong(SeatsWhereSomebodyIs, 300, seed=1)


def test_a_board_that_forgets_to_look_again_is_caught():
    assert goes_wrong(ForgetsToLookAgain, 300, seed=1)


def test_a_board_that_looks_again_only_at_free_seats_is_caught():
    assert goes_wrong(LooksAgainOnlyIfFree, 300, seed=1)


def test_claims_that_come_in_order_never_move_a_number():
    memory = Memory(SMALL)
    for n in range(48):
        before = dict(memory.mapping)
        memory.record([Claim(claimed_at=n + 1, image=image(n))])
        assert before.items() <= memory.mapping.items()


@pytest.mark.search
def test_every_move_leads_back_to_the_claim_that_caused_it():
    moved = 0
    for history in histories(300, seed=20240502):
        memory = Memory(SMALL)
        for claim in (claim for batch in history for claim in batch):
            memory.record([replace(claim, wanted=None)])
            for moving in memory.causes:
                cause = moving
                for _ in memory.causes:
                    cause = memory.causes.get(cause, cause)
                assert cause == claim.image
            moved += len(memory.causes)
    assert moved > 300


def test_who_adopts_an_id_or_loses_it_moves_because_of_that():
    memory = Memory(SMALL)
    one, other = image(1), image(2)
    memory.record([Claim(claimed_at=1, image=one)])

    memory.record([Claim(claimed_at=1, image=one, wanted=Wanted(20, 7))])
    assert memory.causes == {one: one}
    memory.record([Claim(claimed_at=2, image=other, wanted=Wanted(10, 7))])
    assert memory.causes == {one: other}

    # An even earlier adoption lets the first one have its id back.
    memory.record([Claim(claimed_at=2, image=other, wanted=Wanted(5, 8))])
    assert memory.causes == {one: other, other: other}


def test_an_earlier_claim_takes_the_number_of_a_later_one():
    rivals = [n for n in range(500) if SMALL.derive(image(n)) == 100][:2]
    late, early = (image(n) for n in rivals)
    memory = Memory(SMALL)

    memory.record([Claim(claimed_at=20, image=late)])
    memory.record([Claim(claimed_at=10, image=early)])

    assert memory.mapping[early] == 100
    assert memory.mapping[late] == SMALL.probe(late, 1)


@given(batches)
def test_every_number_that_somebody_has_lost_is_an_eviction(history):
    memory = Memory(SMALL)

    for batch in history:
        before = memory.seats()
        memory.record(batch)
        after = memory.seats()
        lost = {(n, i) for n, i in before.items() if after.get(n) != i}
        assert {(e.number, e.image) for e in memory.evictions} == lost


@pytest.mark.search
def test_without_who_is_blamed_the_rest_of_a_batch_evicts_nobody():
    looks = []
    for history in histories(300, seed=20240503):
        memory = Memory(SMALL)
        for batch in history:
            rest = join_all(batch)
            while rest:
                looks.append(trial := memory.copy())
                trial.record(rest.values())
                if not trial.evictions:
                    break
                blamed = set().union(*(e.blamed for e in trial.evictions))
                assert blamed & rest.keys()
                rest = {i: c for i, c in rest.items() if i not in blamed}
            memory.record(batch)

    assert sum(1 for trial in looks if trial.evictions) > 300


def test_an_adoption_takes_nothing_from_anybody():
    memory = Memory(SMALL)
    memory.record([Claim(claimed_at=9, image=image(1))])

    memory.record([Claim(claimed_at=9, image=image(1), wanted=Wanted(20, 7))])

    assert (memory.causes, memory.evictions) == ({image(1): image(1)}, [])


def test_who_has_a_number_in_reserve_only_loses_it_too():
    """Else it would be taken in two steps: an adoption, then the number."""
    memory = Memory(SMALL)
    one, other = image(1), image(2)
    memory.record([Claim(claimed_at=9, image=one, wanted=Wanted(20, 7))])
    number = SMALL.derive(one)

    memory.record([Claim(claimed_at=9, image=other, wanted=Wanted(1, number))])

    assert memory.mapping == {one: 7, other: number}
    assert memory.evictions == [Eviction(number, one, frozenset({other}))]


def test_everybody_s_number_for_the_next_one_is_an_eviction_of_each():
    memory = Memory(SMALL)
    memory.record(Claim(claimed_at=n + 9, image=image(n)) for n in range(8))
    had = [memory.mapping[image(n)] for n in range(8)]

    memory.record(
        Claim(claimed_at=9, image=image(n), wanted=Wanted(1, had[n - 1]))
        for n in range(8)
    )

    assert {e.number for e in memory.evictions} == set(had)
