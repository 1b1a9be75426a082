"""The Writer: brings one sink up to what is settled."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TypeVar

from ec2map_sync.ledger import Ledger
from ec2map_sync.rules.copies import Suspects
from ec2map_sync.rules.errors import Contradicted
from ec2map_sync.rules.rows import Divergence, Numbered, SinkRow
from ec2map_sync.running import counters
from ec2map_sync.sinks import Plan, Session, Sink
from ec2map_sync.sql.errors import again

LOG = logging.getLogger(__name__)

T = TypeVar("T")

NUMBERS_AT_ONCE = 1000
"""Numbers in one transaction of the sink."""


class Writer:
    """Follows the feed of changed numbers into one sink."""

    def __init__(
        self,
        ledger: Ledger,
        sink: Sink,
        *,
        rewrite: bool,
        notes: bool = False,
    ) -> None:
        self._ledger = ledger
        self._sink = sink
        self.notes = notes
        """Whether somebody deletes Nova's memos of what is noted."""
        self.rewrites = rewrite
        """Whether rows of others give way without being asked about."""
        self._reserved = False
        self.caught_up = False
        """Whether nothing was left to write, as far as this host knows."""

    def step(self, *, woken: bool = False) -> bool:
        """Writes what has changed; True if there may be more.

        Who was ``woken`` for it does not ask first whether anything has.
        """
        if not self._reserved:
            self._sink.reserve()
            self._reserved = True
        return self._mending(partial(self._follow, woken=woken))

    @again
    def _follow(self, *, woken: bool) -> bool:
        cursors = self._ledger.cursors
        self.caught_up = not (woken or cursors.is_behind(self._sink.name))
        if self.caught_up:
            return False
        with self._sink.session() as session:
            # Behind the sink's lock: nobody can have written there what was
            # settled later. The ledger's session is given back meanwhile: a
            # sink that is slow would keep it from others.
            with cursors.reader(self._sink.name) as reader:
                if reader is None:
                    return False  # another host looks, and will write
                after = reader.revision
                upto, more = reader.numbers(NUMBERS_AT_ONCE)
                settled = reader.changed(upto)
            self._note_moved(settled)
            if settled and not self._put(session, settled):
                self._write(session, settled)
        # After the sink's commit: a crash between the two writes the same
        # again, and finds it there.
        if upto > after:
            cursors.advance(self._sink.name, after, upto)
            self._measure(after)
        self.caught_up = not more
        return more

    def _put(self, session: Session, settled: Sequence[Numbered]) -> bool:
        """Writes rows without a look before; False if one has to be taken.

        Of adopted ids the row is there, and is to be remembered before.
        """
        rows = [
            SinkRow(number=one.number, uuid=one.uuid)
            for one in settled
            if one.uuid and not one.adopted
        ]
        if len(rows) < len(settled):
            return False
        done = session.put(rows)
        counters.ROWS.add(done, self._sink.name, "added")
        return done == len(rows)

    def write(
        self,
        numbers: Sequence[int],
        *,
        dry_run: bool = False,
        replacing: Collection[SinkRow] = (),
    ) -> Plan:
        """Makes the rows under these numbers as they are settled.

        Rows of others stay, except those that the operator wants replaced.
        Gives what was done, or would be.

        :raises Contradicted: the ledger says two things of some of them.
        """
        attempt = partial(
            self._write_under, numbers, dry_run=dry_run, replacing=replacing
        )
        return attempt() if dry_run else self._mending(attempt)

    @again
    def _write_under(
        self,
        numbers: Sequence[int],
        *,
        dry_run: bool,
        replacing: Collection[SinkRow],
    ) -> Plan:
        with self._sink.session() as session:
            known = self._ledger.numbered(numbers)
            settled = [
                known.get(n) or Numbered(number=n, uuid=None) for n in numbers
            ]
            return self._write(
                session,
                settled,
                dry_run=dry_run,
                replacing=replacing,
                late=True,
            )

    def _mending(self, attempt: Callable[[], T]) -> T:
        """Does it again where the ledger had to be put right before.

        :raises Contradicted: it still says two things.
        """
        try:
            return attempt()
        except Contradicted as error:
            self._ledger.copies.mend(Suspects(numbers=error.numbers))
            return attempt()

    def _write(
        self,
        session: Session,
        settled: Sequence[Numbered],
        *,
        dry_run: bool = False,
        replacing: Collection[SinkRow] = (),
        late: bool = False,
    ) -> Plan:
        """Makes rows as the ledger says.

        ``late`` are those that should have been there: Nova may have looked.

        :raises Contradicted: it says two things of a row that would go.
        """
        steps, settled = self._plan(session, settled, replacing)
        if dry_run:
            return steps
        adopted = {n.number for n in settled if n.adopted}
        self._remember(r for r in steps.add if r.number in adopted)
        # Before the commit, and from what is there: after a crash, nothing
        # would be there that tells. New images are in no row.
        seen = (*steps.remove, *steps.add) if late else steps.remove
        self.note(row.uuid for row in seen)
        others = [row for row in steps.remove if not self._derivable(row)]
        self._ledger.divergences.note_replaced(self._sink.name, others)
        session.apply(steps)
        counters.ROWS.add(len(steps.add), self._sink.name, "added")
        counters.ROWS.add(len(steps.remove), self._sink.name, "removed")
        if steps.taken:
            self._warn(steps.taken)
        return steps

    def _plan(
        self,
        session: Session,
        settled: Sequence[Numbered],
        replacing: Collection[SinkRow],
    ) -> tuple[Plan, Sequence[Numbered]]:
        """Returns what to do, and what is settled of all that it touches.

        An image whose row goes gets the one that is settled at once: between
        two transactions, Nova would find none, and make one.

        :raises Contradicted: the ledger says two things of a row that goes.
        """
        while True:
            steps = session.plan(
                settled,
                judge=partial(self._is_ours, replacing=replacing),
                rewrite=self.rewrites,
            )
            others = self._settled_elsewhere(steps.remove, settled)
            if not others:
                return steps, settled
            settled = [*settled, *others]

    def _settled_elsewhere(
        self, rows: Sequence[SinkRow], settled: Sequence[Numbered]
    ) -> list[Numbered]:
        """Returns what else is settled for images whose rows go.

        :raises Contradicted: a claim says that such a row is its own.
        """
        holders = {n.number: n.uuid.lower() for n in settled if n.uuid}
        going = {(row.number, row.uuid.lower()) for row in rows}
        going -= holders.items()
        images = {image for _, image in going}
        numbers = self._ledger.numbers_of(images) if images else {}
        wrong = {n for n, image in going if numbers.get(image) == n}
        if wrong:
            raise Contradicted(frozenset(wrong))
        elsewhere = set(numbers.values()) - {n.number for n in settled}
        known = self._ledger.numbered(elsewhere) if elsewhere else {}
        return list(known.values())

    def note(self, images: Iterable[str]) -> None:
        """Notes images of which a guest may have been told another id."""
        if self.notes:
            self._ledger.memos.note(self._sink.name, images)

    def _note_moved(self, settled: Sequence[Numbered]) -> None:
        """Notes images that have had another number.

        Guests may have been told of that also where its row was lost since.
        """
        images = {one.uuid.lower(): one.uuid for one in settled if one.uuid}
        if self.notes and images:
            moves = self._ledger.queries.moves(images)
            self.note(images[i] for i in {move.image for move in moves})

    def replace(self, found: Sequence[Divergence]) -> None:
        """Deletes rows that are not as settled and writes ours.

        Both in one transaction: no image is without a row meanwhile.
        """
        numbers = {one.number for one in found}
        numbers |= {one.settled for one in found if one.settled is not None}
        steps = self.write(
            sorted(numbers),
            replacing={SinkRow(number=o.number, uuid=o.image) for o in found},
        )
        if steps.remove:
            LOG.warning(
                "%s: %d rows of others have given way to what is settled; "
                "Nova may remember old ids for up to a week",
                self._sink.name,
                len(steps.remove),
            )

    def _is_ours(
        self, found: Iterable[SinkRow], *, replacing: Collection[SinkRow]
    ) -> Callable[[SinkRow], bool]:
        doubtful = [row for row in found if not self._derivable(row)]
        inserted = self._ledger.divergences.inserted(
            self._sink.name, (row.number for row in doubtful)
        )
        inserted |= set(replacing)
        return lambda row: (
            self._derivable(row)
            or SinkRow(number=row.number, uuid=row.uuid.lower()) in inserted
        )

    def _remember(self, rows: Iterable[SinkRow]) -> None:
        """Notes rows that nothing but the ledger will show to be ours."""
        doubtful = [row for row in rows if not self._derivable(row)]
        self._ledger.divergences.note_inserted(self._sink.name, doubtful)

    def _derivable(self, row: SinkRow) -> bool:
        return self._ledger.scheme.could_derive(row.uuid, row.number)

    def _measure(self, revision: int) -> None:
        """Notes how long the first change of a batch has waited."""
        if counters.counting():
            changed_at = self._ledger.queries.changed_after(revision)
            if changed_at is not None:
                counters.SINK_DELAY.since(changed_at, self._sink.name)

    def _warn(self, taken: Sequence[SinkRow]) -> None:
        LOG.warning(
            "%s: %d of our numbers are held by rows that are not ours, for "
            "example %d by %s; they stay ([nova] existing_rows): see "
            "'ec2map-sync divergence list'",
            self._sink.name,
            len(taken),
            taken[0].number,
            taken[0].uuid,
        )
