"""Mending: what contradicts itself in a ledger is put right, from its claims.

Rare, and so without haste: it may read whole tables. It runs in a recording
transaction, behind the lock, so that nothing changes meanwhile.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.known import Known, claim_of_row, known_of, wish_of
from ec2map_sync.rules import copies
from ec2map_sync.rules.claims import Claim
from ec2map_sync.rules.copies import Suspects
from ec2map_sync.rules.ec2id import image_key
from ec2map_sync.rules.errors import BadId
from ec2map_sync.rules.settle import Board, Slot, Wish, wishes
from ec2map_sync.sql.statements import delete_in, select_in

if TYPE_CHECKING:
    from ec2map_sync.ledger.recording import Recording

PASSES = 16
"""Looks at the slots until none is found wrong; hardly any needs a second."""

NUMBERS_SAID = 3
"""Numbers that are named; the rest is counted."""

Noted = dict[str, set[tuple[int, Wish]]]
"""What slots tell of images: the numbers, and the wishes there."""


class Mending:
    """Makes one recording transaction put right what it is told to look at.

    A claim that does not fit its hash, or is gone while a slot still names
    its image, is made anew of what is left of it; then all slots are made
    what the claims say.
    """

    def __init__(self, recording: "Recording") -> None:
        self._recording = recording
        self._connection = recording.connection
        self._claims: dict[str, Known] = {}
        self._stored: dict[str, Known] = {}
        self._unreal: set[str] = set()
        """Images that slots name, and that nobody has claimed."""
        self._others: dict[str, Claim | None] = {}
        self._cleared: set[int] = set()
        self._found: list[str] = []
        self._board = Board(recording.scheme, self._load)

    def mend(self, suspects: Suspects) -> list[str]:
        """Puts right what is wrong; tells what that was."""
        self._gather(suspects)
        board = self._board
        for known in self._claims.values():
            board.again(wishes(known.claim))
        board.prepare()
        board.read(suspects.numbers)
        self._settle()
        self._write()
        return self._found

    def _gather(self, suspects: Suspects) -> None:
        """Reads all claims that have to do with it, as they should be."""
        slots = self._recording.load_slots(suspects.numbers, whole=True)
        images = set(suspects.images)
        for slot in slots.values():
            images |= {wish.image for wish in _wishes_in(slot)}
        images |= self._images_with(suspects.numbers)
        images |= self._owners({n for n, s in slots.items() if not s.wish})
        rows = self._rows(images)
        self._stored = {row.image: known_of(row) for row in rows}
        for image, known in self._stored.items():
            if not known.is_damaged:
                self._claims[image] = known
        self._restore({row.image: row for row in rows}, images)

    def _restore(self, rows: Mapping[str, Any], images: set[str]) -> None:
        """Makes the claims that are damaged or gone anew."""
        lost = images - self._claims.keys()
        stamps = {rows[image].claimed_at for image in lost & rows.keys()}
        noted = self._noted(lost, stamps)
        for row in self._rows(noted.keys() - images):
            self._stored[row.image] = known_of(row)
        for image in sorted(lost & rows.keys()):
            self._mend_claim(rows[image], noted)
        for image in sorted(lost - rows.keys() - self._claims.keys()):
            credible = self._credible(noted.get(image, set()))
            if credible:
                self._put(copies.rebuilt(image, credible), None)
                self._found.append(f"the claim of {image} was gone")
            else:
                self._unreal.add(image)

    def _mend_claim(self, row: Any, noted: Noted) -> None:
        known = self._stored[row.image]
        there = self._credible(noted.get(row.image, set()))
        if not there:
            others = {w for some in noted.values() for _, w in some}
            origin = copies.renamed(known.claim, known.hash, others)
            if origin is not None or not _is_image(row.image):
                self._unreal.add(row.image)
                if origin is not None:
                    self._put(origin, known)
                self._found.append(f"the claim of {row.image!r} is nobody's")
                return
        stamps = {row.claimed_at, row.wanted_at, row.kind_at} - {None}
        self._put(copies.mended(known.claim, known.hash, there, stamps), known)
        self._found.append(f"the claim of {row.image} was changed")

    def _put(self, claim: Claim, old: Known | None) -> None:
        known = old or Known(claim=claim, hash=claim.hash)
        self._claims[claim.image] = replace(
            known, claim=claim, hash=claim.hash
        )

    def _credible(self, noted: Iterable[tuple[int, Wish]]) -> set[Wish]:
        """Returns an image's wishes, if one of them must be a real one.

        Not where somebody else's claim says that the number is its own.
        """
        noted = set(noted)
        taken = {
            known.number: image
            for image, known in self._claims.items()
            if known.number is not None
        }
        scheme = self._recording.scheme
        real = any(
            copies.is_credible(number, wish, scheme)
            and taken.get(number, wish.image) == wish.image
            for number, wish in noted
        )
        return {wish for _, wish in noted} if real else set()

    def _settle(self) -> None:
        """Lets all slots that were read become as the claims say."""
        board = self._board
        for _ in range(PASSES):
            board.run()
            wrong = False
            for number, slot in list(board.slots.items()):
                wrong |= self._clear_seat(number, slot)
                wrong |= self._clear_passed(number, slot)
            if not wrong:
                return

    def _clear_seat(self, number: int, slot: Slot) -> bool:
        """Takes a seat from a wish that has another one."""
        if slot.wish is None:
            return False
        seat = self._board.find(slot.wish)
        if seat in {None, number}:
            return False
        self._board.vacate(number)
        return True

    def _clear_passed(self, number: int, slot: Slot) -> bool:
        """Forgets of wishes that they passed where they need not."""
        board = self._board
        left = {
            wish
            for wish in slot.passed
            if board.find(wish) is not None
            and not copies.passes(number, wish, board)
        }
        slot.passed -= left
        if left:
            board.touched.add(number)
        return bool(left)

    def _load(self, numbers: Collection[int]) -> Mapping[int, Slot]:
        """Reads slots, without the wishes that nobody has."""
        slots = self._recording.load_slots(numbers, whole=True)
        self._look_up(w.image for s in slots.values() for w in _wishes_in(s))
        for number, slot in slots.items():
            unreal = {w for w in _wishes_in(slot) if not self._is_real(w)}
            if not unreal:
                continue
            self._cleared.add(number)
            slot.passed -= unreal
            if slot.wish in unreal:
                slot.wish = None
                self._board.again(slot.passed)
        return slots

    def _is_real(self, wish: Wish) -> bool:
        """Returns whether somebody wishes so, as far as that is known."""
        if wish.image in self._claims:
            return wish in wishes(self._claims[wish.image].claim)
        if wish.image in self._unreal:
            return False
        claim = self._others[wish.image]
        # Of what is damaged itself, or gone, this is what is left.
        return claim is None or wish in wishes(claim)

    def _look_up(self, images: Iterable[str]) -> None:
        new = set(images) - self._claims.keys() - self._others.keys()
        self._others |= dict.fromkeys(new)
        for row in self._rows(new):
            claim = claim_of_row(row)
            if claim.hash == row.hash:
                self._others[row.image] = claim

    def _write(self) -> None:
        board, recording = self._board, self._recording
        displaced = self._displaced()
        recording.write_moves(board, displaced)
        after = displaced | {
            image: replace(known, number=board.number_of(known.claim))
            for image, known in self._claims.items()
        }
        changed = {
            image: known
            for image, known in after.items()
            if known != self._stored.get(image)
        }
        board.touched |= self._cleared
        self._say(changed)
        if not self._found:
            return
        self._write_claims(changed)
        before = [self._stored[i] for i in changed if i in self._stored]
        numbers = {known.number for known in (*changed.values(), *before)}
        recording.write_numbers(
            board, board.touched | {n for n in numbers if n is not None}
        )
        recording.recount()

    def _displaced(self) -> dict[str, Known]:
        """Returns those who make way for one that was not where it belongs."""
        board, recording = self._board, self._recording
        images = board.images - self._claims.keys() - self._unreal
        recording.look_up(images)
        return {
            image: replace(known, number=board.number_of(known.claim))
            for image in images
            if (known := recording.known.get(image))
        }

    def _write_claims(self, changed: Mapping[str, Known]) -> None:
        recording = self._recording
        gone = self._unreal & self._stored.keys()
        delete_in(self._connection, tables.claims.c.image, gone)
        recording.known |= self._stored
        recording.known = {
            image: known
            for image, known in recording.known.items()
            if image not in gone
        }
        recording.write_claims(changed)
        recording.known |= changed

    def _say(self, changed: Mapping[str, Known]) -> None:
        self._found += [
            f"the number of {image} was {self._stored[image].number}"
            for image, known in changed.items()
            if image in self._stored
            and self._stored[image].number != known.number
        ]
        touched = sorted(self._board.touched)
        if touched:
            some = ", ".join(map(str, touched[:NUMBERS_SAID]))
            more = len(touched) - NUMBERS_SAID
            some += f" and {more} more" if more > 0 else ""
            self._found.append(f"who sits on, or passed, {some} was wrong")

    def _rows(self, images: Iterable[str]) -> list[Any]:
        c = tables.claims
        return list(
            select_in(self._connection, sa.select(c), c.c.image, images)
        )

    def _images_with(self, numbers: Iterable[int]) -> set[str]:
        """Returns the images whose claims say that they have these numbers."""
        c = tables.claims.c
        found = select_in(
            self._connection, sa.select(c.image), c.number, numbers
        )
        return {row.image for row in found}

    def _owners(self, empty: Collection[int]) -> set[str]:
        """Returns the images that might sit on numbers that are empty.

        Of those who were passed by: somebody must have sat there.
        """
        p, c = tables.passed.c, tables.claims.c
        was_there = sa.select(p.number)
        passed = select_in(self._connection, was_there, p.number, empty)
        numbers = {row.number for row in passed}
        if not numbers:
            return set()
        scheme = self._recording.scheme
        every = self._connection.execute(sa.select(c.image, c.wanted))
        found = {
            image
            for image, wanted in every
            if wanted in numbers or scheme.derive(image) in numbers
        }
        gone_by = self._connection.execute(sa.select(p.wish_image))
        return found | {
            image
            for (image,) in gone_by
            if any(scheme.could_derive(image, n) for n in numbers)
        }

    def _noted(self, images: Iterable[str], stamps: Collection[int]) -> Noted:
        """Reads what slots tell of images, or of wishes with some stamps."""
        noted: Noted = defaultdict(set)
        for table in (tables.numbers, tables.passed):
            read = partial(select_in, self._connection, sa.select(table))
            for row in (
                *read(table.c.wish_image, images),
                *read(table.c.wish_at, stamps),
            ):
                if row.wish_image is None:
                    continue
                wish, there = wish_of(row), noted[row.wish_image]
                # One wish each; where it sits counts before where it passed.
                seats = {w.wanted for _, w in there}
                if table is tables.numbers or wish.wanted not in seats:
                    there.add((row.number, wish))
        return noted


def _wishes_in(slot: Slot) -> set[Wish]:
    return slot.passed | ({slot.wish} if slot.wish else set())


def _is_image(text: str) -> bool:
    try:
        return image_key(text) == text
    except BadId:
        return False
