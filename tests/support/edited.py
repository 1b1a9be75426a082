"""Ledgers that somebody changes by hand, and what is left of that."""

from typing import Any

from by_hand import written

from ec2map_sync.ledger import Ledger
from ec2map_sync.ledger.copies import Place
from ec2map_sync.peers import compare
from ec2map_sync.protocol import messages
from ec2map_sync.rules.claims import EVERYTHING, Sighting
from ec2map_sync.rules.ec2id import Band, Kind, Scheme
from ec2map_sync.rules.stamps import wall_clock

SCHEME = Scheme(b"test", Band(2**24, 2**24 + 2**16))
START = wall_clock()


def image(n: int) -> str:
    """Give the UUID of a numbered image, with letters in it."""
    return f"abcdef00-0000-4000-8000-{n:012x}"


def colliding() -> tuple[int, ...]:
    """Find three images that like the same number best."""
    found: dict[int, list[int]] = {}
    for n in range(100, 10_000):
        rivals = found.setdefault(SCHEME.derive(image(n)), [])
        rivals.append(n)
        if len(rivals) == 3:
            return tuple(rivals)
    raise AssertionError


RIVALS = colliding()
ADOPTED = {3: 5, 4: 6, RIVALS[1]: 7}
IMAGES = [image(n) for n in (1, 2, 3, 4, *RIVALS)]


def fill(ledger: Ledger) -> None:
    """Claim images: some collide, some have adopted an id, or two."""
    for n in (1, 2, 3, 4, *RIVALS):
        ledger.see([Sighting(image=image(n), uuid=image(n).upper())])
    ledger.see([Sighting(image=image(2), uuid=image(2), kind=Kind.AKI)])
    ledger.see([Sighting(image=image(1), uuid=image(1), kind=Kind.ARI)])
    for n, wanted in ADOPTED.items():
        seen = Sighting(image=image(n), uuid=image(n), wanted=wanted)
        ledger.see([seen])
    # Another wants what is taken, and so goes by.
    ledger.see([Sighting(image=image(1), uuid=image(1), wanted=5)])


def whole_round(ledger: Ledger, limit: int = 3) -> list[str]:
    """Look at everything, as the bookkeeper does; what was found."""
    found: list[str] = []
    if not ledger.copies.look_at_totals():
        found += ledger.copies.mend_totals()
    place: Place | None = Place()
    while place is not None:
        page = ledger.copies.look(place, limit)
        if page.suspects:
            found += ledger.copies.mend(page.suspects)
        place = page.next
    return found


def pull(ledger: Ledger, peer: Ledger) -> None:
    """Compare with a peer until there is nothing more to ask."""
    asked: list[messages.Compare] = []
    pulling = compare.Pull(
        ledger, asked.append, span=EVERYTHING, monotonic=lambda: 0.0
    )
    pulling.step()
    while asked:
        reply = compare.answer(peer, asked.pop())
        pulling.take(reply)
        ledger.record(reply.claims)


def rows(ledger: Ledger, *names: str) -> dict[str, set[tuple[Any, ...]]]:
    """Give the rows of some tables."""
    with ledger._engine.connect() as connection:
        return {
            name: {
                (*row[:3], row[-1]) if name == "numbers" else row
                for row in connection.exec_driver_sql(f"SELECT * FROM {name}")
            }
            for name in names
        }


def state(ledger: Ledger) -> tuple[Any, ...]:
    """Give all that regions have in common, and all that follows from it."""
    found = rows(ledger, "numbers", "passed")
    held = {
        (number, bool(wanted), *wish)
        for number, wanted, *wish in found["numbers"]
        if wish[-1]
    }
    claims = ledger.claims(IMAGES)
    return (
        claims,
        ledger.numbers_of(claims),
        held,
        {(*p[:2], bool(p[2]), p[3]) for p in found["passed"]},
        ledger.head().total,
        ledger.print_of(EVERYTHING),
    )


def edit(ledger: Ledger, statement: str) -> None:
    """Change rows behind the ledger's back."""
    with ledger._engine.begin() as connection:
        text = written(statement, connection.dialect.name)
        done = connection.exec_driver_sql(text)
        assert done.rowcount


ONE, TWO, ADOPTER = image(1), image(2), image(3)
TAKEN = SCHEME.derive(image(RIVALS[0]))
EDITS = {
    "a claim is gone": f"DELETE FROM claims WHERE image='{ONE}'",
    "an adopter's claim is gone": (
        f"DELETE FROM claims WHERE image='{ADOPTER}'"
    ),
    "a rival's claim is gone": (
        f"DELETE FROM claims WHERE image='{image(RIVALS[2])}'"
    ),
    "claimed earlier": (
        f"UPDATE claims SET claimed_at=1 WHERE image='{image(RIVALS[2])}'"
    ),
    "claimed later": (
        f"UPDATE claims SET claimed_at=claimed_at+999 WHERE image='{ONE}'"
    ),
    "another kind": f"UPDATE claims SET kind='ari' WHERE image='{TWO}'",
    "no kind at all": f"UPDATE claims SET kind='xyz' WHERE image='{TWO}'",
    "a later kind": f"UPDATE claims SET kind_at=kind_at+9 WHERE image='{TWO}'",
    "wanted": f"UPDATE claims SET wanted=9 WHERE image='{ADOPTER}'",
    "wanted earlier": f"UPDATE claims SET wanted_at=1 WHERE image='{ADOPTER}'",
    "wanted no more": (
        f"UPDATE claims SET wanted=NULL WHERE image='{ADOPTER}'"
    ),
    "spelling": f"UPDATE claims SET spelling='zz' WHERE image='{ONE}'",
    "spelled as the key": (
        f"UPDATE claims SET spelling='{ONE}' WHERE image='{ONE}'"
    ),
    "no spelling": f"UPDATE claims SET spelling='' WHERE image='{ONE}'",
    "hash": f"UPDATE claims SET hash=hash+1 WHERE image='{ONE}'",
    "number": f"UPDATE claims SET number=12345678 WHERE image='{ONE}'",
    "no number": f"UPDATE claims SET number=NULL WHERE image='{ONE}'",
    "reserved number": (
        f"UPDATE claims SET number={SCHEME.derive(ADOPTER)} "
        f"WHERE image='{ADOPTER}'"
    ),
    "image": f"UPDATE claims SET image='{image(9)}' WHERE image='{ONE}'",
    "image that is none": f"UPDATE claims SET image='x' WHERE image='{ONE}'",
    "all numbers": "UPDATE claims SET number=NULL",
    "numbers: one is gone": (
        f"DELETE FROM numbers WHERE number={SCHEME.derive(ONE)}"
    ),
    "numbers: one that was passed is gone": (
        f"DELETE FROM numbers WHERE number={TAKEN}"
    ),
    "numbers: one that is reserved is gone": (
        f"DELETE FROM numbers WHERE number={SCHEME.derive(ADOPTER)}"
    ),
    "numbers: all are gone": "DELETE FROM numbers",
    "numbers: nobody there": (
        f"UPDATE numbers SET wish_image=NULL WHERE number={TAKEN}"
    ),
    "numbers: somebody else there": (
        f"UPDATE numbers SET wish_image='{TWO}' WHERE number={TAKEN}"
    ),
    "numbers: somebody unknown there": (
        f"UPDATE numbers SET wish_image='{image(9)}' WHERE number={TAKEN}"
    ),
    "numbers: earlier": (
        f"UPDATE numbers SET wish_at=1 WHERE number={SCHEME.derive(ONE)}"
    ),
    "numbers: wanted": (
        "UPDATE numbers SET wish_wanted=(1=1) "
        f"WHERE number={SCHEME.derive(ONE)}"
    ),
    "numbers: derived": "UPDATE numbers SET wish_wanted=(1=0) WHERE number=5",
    "numbers: another": "UPDATE numbers SET number=8 WHERE number=5",
    "passed: all are gone": "DELETE FROM passed",
    "passed: later": "UPDATE passed SET wish_at=wish_at+1",
    "passed: another number": "UPDATE passed SET number=number+1",
    "passed: another image": f"UPDATE passed SET wish_image='{TWO}' "
    f"WHERE wish_image='{image(RIVALS[1])}'",
    "total: more": "UPDATE head SET total_sum=total_sum+1",
    "total: fewer": "UPDATE head SET total_count=total_count-1",
    "head: behind": "UPDATE head SET revision=3",
    "head: stamped behind": "UPDATE head SET last_stamp=3",
}
