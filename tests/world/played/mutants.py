"""Faults put into the package at run time, which the judge has to find.

Each is a function that changes one thing; its docstring says what is wrong
then. They are the mistakes that somebody might make in the flow. What cannot
do harm is none of them: messages of a peer that are lost, acknowledged too
soon or taken twice are all made good by comparing.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from ec2map_sync.agent import health, host
from ec2map_sync.broker import batches, link
from ec2map_sync.glance import audit as glance_audit, listener
from ec2map_sync.ledger import feeds, journal, recording, statements
from ec2map_sync.ledger.journal import Journal
from ec2map_sync.ledger.ledger import Ledger
from ec2map_sync.ledger.memos import Memos
from ec2map_sync.monitor import status, views
from ec2map_sync.peers import (
    agreement,
    answerer,
    bus,
    compare,
    follower,
    gate,
    publisher,
    refusals,
)
from ec2map_sync.protocol import messages
from ec2map_sync.protocol.signing import PublicKey
from ec2map_sync.rules import claims
from ec2map_sync.rules.ec2id import Kind
from ec2map_sync.rules.names import EC2API
from ec2map_sync.running import loop
from ec2map_sync.sinks import audit, ec2api, memos, nova, writer

Mutant = Callable[[], None]

ALL: dict[str, Mutant] = {}


def mutant(change: Mutant) -> Mutant:
    """Makes a function one of them."""
    ALL[change.__name__] = change
    return change


def put(owner: Any, name: str, value: object) -> Any:
    """Puts something in the place of what there is, which it returns."""
    former = getattr(owner, name)
    setattr(owner, name, value)
    return former


# Notifications.


@mutant
def acknowledge_before_commit() -> None:
    """Notifications are acknowledged before they are recorded."""

    def settle(self: Any, batch: Any) -> None:
        for incoming in batch:
            incoming.acknowledge()
        deliveries = [batches.delivery_in(one.message) for one in batch]
        self.dispatcher.dispatch(deliveries)

    put(batches.BatchServer, "_settle_whole", settle)


@mutant
def give_up_a_batch() -> None:
    """A batch that the ledger does not take is dropped."""
    attempt = listener.Recorder._attempt

    def once(self: Any, notifications: Any) -> None:
        attempt(self, notifications)

    put(listener.Recorder, "_attempt", once)


@mutant
def take_the_first_of_a_batch() -> None:
    """Of notifications that come together, one counts."""
    put(
        Ledger,
        "see",
        lambda self, sightings, see=Ledger.see: see(self, sightings[:1]),
    )


@mutant
def never_look_into_glance() -> None:
    """The Auditor finds nothing that was not told."""
    put(glance_audit.Survey, "batch", lambda _self, _size=0: [])


# The ledger.


@mutant
def totals_not_reduced() -> None:
    """The running total keeps what a claim was before it was joined."""
    write = recording.Recording._write

    def keep(self: Any, news: Any, board: Any, *, own: bool) -> None:
        before = [self.known[i].hash for i in news if i in self.known]
        write(self, news, board, own=own)
        self.total += recording.Print(len(before), sum(before))

    put(recording.Recording, "_write", keep)


@mutant
def last_kind_wins() -> None:
    """Of two kinds, the one that was heard last counts, not the newest."""

    def join(one: Any, other: Any) -> Any:
        return replace(claims.join(one, other), kind=other.kind or one.kind)

    put(recording, "join", join)


@mutant
def moves_not_recorded() -> None:
    """Nobody writes down that a number has moved."""
    put(recording.Recording, "write_moves", lambda *_args: None)


@mutant
def stamps_by_the_clock() -> None:
    """A claim is stamped by the clock, whatever was stamped before."""

    def next_stamp(self: Any) -> int:
        self.last_stamp = self._clock()
        return int(self.last_stamp)

    put(recording.Recording, "next_stamp", next_stamp)


@mutant
def stamps_of_others_forgotten() -> None:
    """Stamps come after those that were made here, not those heard of."""
    put(recording.Recording, "follow", lambda _self, _stamp: None)
    note = Journal.note_peer

    def forget(self: Any, peer: str, **fields: Any) -> None:
        note(self, peer, **fields | {"newest": 0})

    put(Journal, "note_peer", forget)


@mutant
def first_heard_wins() -> None:
    """Of two claims of an image, the one that was heard first counts."""

    def join(one: Any, other: Any) -> Any:
        return replace(claims.join(one, other), claimed_at=one.claimed_at)

    put(recording, "join", join)


@mutant
def changed_numbers_forgotten() -> None:
    """A number that has another image now counts as unchanged."""
    changed = recording.Recording._changed_numbers

    def fewer(self: Any, after: Any) -> set[int]:
        new = {i: known for i, known in after.items() if i not in self.known}
        found: set[int] = changed(self, new)
        return found

    put(recording.Recording, "_changed_numbers", fewer)


@mutant
def gate_open_too_soon() -> None:
    """Claims are made before peers were compared with."""
    put(gate.Gate, "is_open", lambda _self: True)


@mutant
def restored_ledger_unnoticed() -> None:
    """Nobody looks whether a ledger was restored."""
    put(health.Memory, "check", lambda _self, _ledger: None)


@mutant
def revision_rolled_back() -> None:
    """The file remembers a restored ledger's revision before it is told."""
    check = health.Memory.check

    def forget(self: Any, ledger: Any) -> None:
        self.path.unlink(missing_ok=True)
        check(self, ledger)

    put(health.Memory, "check", forget)
    put(statements.Statements, "forget", lambda _self, _region: None)


# Peers.


@mutant
def never_compare() -> None:
    """Whatever a heartbeat says, nothing is asked."""
    put(agreement.Agreement, "next_span", lambda _self, _heartbeat: None)
    put(follower.Follower, "_begin", lambda _self, _span: None)


@mutant
def forget_what_did_not_fit() -> None:
    """Of an answer, what was too long for it is never asked for."""
    take = compare.Pull.take
    put(
        compare.Pull,
        "take",
        lambda self, reply: take(self, replace(reply, rest=(), ranges=())),
    )


@mutant
def ask_once() -> None:
    """A question that nobody answers is never put again."""
    step = compare.Pull.step

    def once(self: Any) -> None:
        if not self._asked:
            step(self)

    put(compare.Pull, "step", once)


@mutant
def pull_outlives_its_connection() -> None:
    """A follower that has lost its connection believes it has compared."""

    def reset(self: Any) -> None:
        self._inlet.close()

    put(follower.Follower, "reset", reset)
    ask_once()


@mutant
def answer_nobody() -> None:
    """The Answerer takes every question for one that it has answered."""
    put(answerer.Answerer, "_answer", lambda _self, _message: 0.0)


@mutant
def believe_anybody() -> None:
    """Signatures are not looked at."""
    put(PublicKey, "verifies", lambda _self, _signature, _data: True)


@mutant
def believe_the_future() -> None:
    """Claims that are stamped days ahead are taken."""
    put(messages, "MAX_AHEAD", 10**18)


@mutant
def heartbeats_by_the_wall() -> None:
    """When a heartbeat is due is told by a clock that may be set."""
    init = publisher.Publisher.__init__

    def by_the_wall(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options | {"monotonic": time.time})

    put(publisher.Publisher, "__init__", by_the_wall)


@mutant
def broken_link_kept() -> None:
    """A connection that has failed is used again."""
    put(link.Link, "close", lambda _self: None)


@mutant
def queue_not_bound_to_answers() -> None:
    """A follower hears claims and heartbeats, and no answers."""

    def bind(self: Any, queue: Any) -> None:
        for key in ("claims", "heartbeat"):
            queue.bind_to(self._peer.exchange, key)

    put(bus.Inlet, "_bind", bind)


# Sinks.


@mutant
def cursor_before_effect() -> None:
    """The sink's cursor moves before the sink has the rows."""

    def early(self: Any, *, woken: bool) -> bool:
        cursors = self._ledger.cursors
        self.caught_up = not (woken or cursors.is_behind(self._sink.name))
        if self.caught_up:
            return False
        with self._ledger.cursors.reader(self._sink.name) as reader:
            if reader is None:
                return False
            after = reader.revision
            upto, more = reader.numbers(writer.NUMBERS_AT_ONCE)
            settled = reader.changed(upto)
        self._ledger.cursors.advance(self._sink.name, after, upto)
        if settled:
            with self._sink.session() as opened:
                self._write(opened, settled)
        return bool(more)

    put(writer.Writer, "_follow", early)


@mutant
def insert_without_looking() -> None:
    """After an answer that was lost, nobody looks what is there."""
    put(nova.NovaSession, "_rows", lambda _self, _numbers: {})


@mutant
def read_up_to_the_head() -> None:
    """A reader that has read a page takes the cursor to the head."""

    def until(self: Any, _revision: Any, _limit: int) -> tuple[int, bool]:
        self._renew()
        return self._newest, False

    numbers = feeds.Reader.changed
    put(feeds.Reader, "_until", until)
    put(
        feeds.Reader,
        "changed",
        lambda self, upto: numbers(self, upto)[:1],
    )


@mutant
def rows_of_others_removed() -> None:
    """Whatever stands where nothing is settled is taken for ours."""
    put(
        writer.Writer,
        "_is_ours",
        lambda _self, _found, **_options: lambda _row: True,
    )
    look = audit.Sweep._look

    def clean(self: Any, rows: Any, *args: Any) -> None:
        self._writer.write([row.number for row in rows])
        look(self, rows, *args)

    put(audit.Sweep, "_look", clean)


@mutant
def sink_never_audited() -> None:
    """Rows that a cell has lost stay lost."""
    put(audit.SinkAuditor, "step", lambda _self: False)


@mutant
def audit_claims_nothing() -> None:
    """Rows that Nova has made on demand tell of no image."""
    put(audit.Sweep, "_see", lambda _self, _unknown: None)


# What peers may do by lying.


@mutant
def robbers_unlimited() -> None:
    """A peer takes as many numbers from images as it likes."""
    put(recording, "spend", lambda *_args: None)


@mutant
def held_claims_dropped() -> None:
    """What is held of a peer's claims is kept for nobody."""
    put(refusals.Refusals, "hold", lambda _self, *_args: 0)


@mutant
def newest_stamp_believed() -> None:
    """A heartbeat's newest stamp is believed, however far ahead it is."""
    put(journal, "MAX_AHEAD", 2**62)


@mutant
def useless_answer_ends_it() -> None:
    """Who answers that there is more to be told is not asked again."""
    put(compare, "_failed", lambda *_args: [])
    put(compare.Pull, "_differing", lambda _self, _ranges: [])


# What Nova remembers in memcached, where it has one.


@mutant
def nothing_is_to_be_forgotten() -> None:
    """Nobody notes of which images Nova may remember another id."""
    put(Memos, "note", lambda *_args: None)


@mutant
def forgotten_once() -> None:
    """What Nova remembers is deleted once, not for as long as it may read."""
    put(memos, "AGAIN", 0.0)


# ec2-api's table, where a region has one.


@mutant
def wrong_prefix() -> None:
    """Rows in ec2-api's table have one prefix, whatever the image is."""
    apply = ec2api.Ec2ApiSession.apply

    def alike(self: Any, steps: Any) -> None:
        add = tuple(replace(row, kind=Kind.AMI) for row in steps.add)
        apply(self, replace(steps, add=add))

    put(ec2api.Ec2ApiSession, "apply", alike)


@mutant
def late_kinds_unheard() -> None:
    """A kind that becomes known later is no change to a sink."""
    changed = recording.Recording._changed_numbers

    def fewer(self: Any, after: Any) -> set[int]:
        moved = {
            image: new
            for image, new in after.items()
            if image not in self.known
            or self.known[image].number != new.number
        }
        found: set[int] = changed(self, moved)
        return found

    put(recording.Recording, "_changed_numbers", fewer)


@mutant
def ec2api_never_audited() -> None:
    """Nobody looks at what ec2-api has made or deleted."""
    step = audit.SinkAuditor.step

    def some(self: Any) -> bool:
        return self._name != EC2API and step(self)

    put(audit.SinkAuditor, "step", some)


@mutant
def filled_in_rows_are_bare() -> None:
    """A row that its owner has filled in gives way like one of ours."""
    put(ec2api, "_bare", sa.true())


# Running, and what is said of it.


@mutant
def loop_ends_with_an_error() -> None:
    """A loop whose step has failed is not called again."""
    attempt = loop.Loop._attempt

    def last(self: Any) -> Exception | None:
        error = attempt(self)
        if error is not None:
            self._stopping.set()
        return error

    put(loop.Loop, "_attempt", last)


@mutant
def pause_without_an_end() -> None:
    """Pauses grow for ever, and from a day on."""
    put(loop, "FIRST_PAUSE", 86400.0)
    put(loop, "LONGEST_PAUSE", 1e9)


@mutant
def writer_never_woken() -> None:
    """Nobody tells the Writer, and it does not look by itself."""
    put(host.Host, "recorded_from_peer", lambda _self: None)
    put(feeds.Cursors, "is_behind", lambda _self, _name: False)


@mutant
def agreement_taken_for_granted() -> None:
    """A peer agrees whatever it holds."""
    judge = agreement.Agreement.judge

    def believe(
        self: Any, heartbeat: Any, _own: Any, _total: Any, *, sound: bool
    ) -> Any:
        return judge(
            self, heartbeat, heartbeat.before, heartbeat.total, sound=sound
        )

    put(agreement.Agreement, "judge", believe)
    put(follower.Follower, "_begin", lambda _self, _span: None)


@mutant
def silent_peers_agree() -> None:
    """Status says of a peer what it was, however long ago."""
    put(
        views.PeerView,
        "healthy",
        property(lambda self: self.state != "never heard"),
    )


@mutant
def dead_services_work() -> None:
    """Status takes a loop that is not heard any more for one that works."""
    put(status, "_late", lambda _state, _now: False)


@mutant
def sinks_are_up_to_date() -> None:
    """Status counts nothing that a sink still lacks."""
    put(
        status.Examination,
        "_numbers_after",
        lambda _self, _revision: status.Backlog(count=0),
    )
