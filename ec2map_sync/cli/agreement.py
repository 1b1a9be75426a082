"""ec2map-sync agreement."""

import base64
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ec2map_sync.cli.base import (
    Arguments,
    BadArgument,
    Fields,
    Parser,
    Refused,
    Rows,
    ShowOne,
    Unknown,
    add_limit,
    limit_of,
)
from ec2map_sync.cli.files import STANDARD, readable, written
from ec2map_sync.cli.mapping import add_name, find
from ec2map_sync.cli.progress import progress
from ec2map_sync.cli.regional import RegionCommand, RegionLister
from ec2map_sync.cli.values import moment
from ec2map_sync.ledger import roots
from ec2map_sync.operate import agreement
from ec2map_sync.protocol import agreements
from ec2map_sync.protocol.agreements import Agreed, Terms, newest_moment
from ec2map_sync.protocol.notes import BadNote, Note
from ec2map_sync.protocol.signing import PublicKey
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.ec2id import parse_name
from ec2map_sync.rules.stamps import iso, parse_time, time_of, wall_clock


class _Signing(RegionCommand):
    """Those who sign a note of a moment."""

    def add_arguments(self, parser: Parser) -> None:
        """Says what both take."""
        parser.add_argument(
            "--at",
            metavar="TIME",
            help="of what was known before this time (default: the last "
            "moment that all regions have signed, else the last full minute)",
        )
        parser.add_argument(
            "--note",
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help="a note of another region, whose moment is taken, and whose "
            "signatures are added if it says the same; may be repeated",
        )

    def _moment(self, chosen: Arguments) -> tuple[Stamp, list[Note]]:
        """Returns of when a note is to be, and those of others.

        :raises BadArgument: the moment is not over.
        """
        now = wall_clock()
        notes = [_note(path) for path in chosen.note]
        region = self.region
        until = agreement.last_agreed(region.ledger, region.bus) or (
            newest_moment(now)
        )
        if notes:
            until = Terms.parse(notes[0].text).until
        if chosen.at:
            until = parse_time(chosen.at, now)
        if until > now:
            raise BadArgument(f"{_said(until)} is still to come")
        return until, notes

    def _signed(self, notes: list[Note], terms: Terms) -> Note:
        there = agreement.signed_by_others(self.region.ledger, terms)
        try:
            return agreement.signed(terms, self.config.bus, [*there, *notes])
        except BadNote as error:
            raise Refused(str(error)) from error


class ShowAgreement(_Signing):
    """Print a note of what this region knew at a moment, signed by it.

    Every region that knew the same prints the same text, under which its
    own signature stands, with those that the regions' agents have sent each
    other. The moment is the last that all have signed, or the last full
    minute, unless --at names another, as ISO 8601 (UTC unless it says
    otherwise), or 90m, 2h, 3d ago. With --note, the signatures of another
    region's note are added; exit code 1, and one line, if that region
    signed something else.

    Example: ec2map-sync agreement show --at 2026-01-31T12:00:00
    """

    def take_action(self, parsed_args: Arguments) -> None:
        """Signs."""
        until, notes = self._moment(parsed_args)
        with (
            self.region.ledger.snapshot() as snapshot,
            progress("claims", None) as advance,
        ):
            terms = roots.terms(snapshot, until, advance)
        self.out(str(self._signed(notes, terms)).rstrip("\n"))


class Prove(_Signing):
    """Write a proof that an image has its EC2 id, to be checked elsewhere.

    The file has less than 2 kB, and may be sent by mail: 'agreement verify'
    accepts it wherever the public keys of those who signed it are known.
    With --note, these are others too: who has signed the same moment.

    Example: ec2map-sync agreement prove ami-1f2e3d4c --at 1s -o /etc/proof
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        add_name(parser)
        parser.add_argument(
            "-o",
            "--output",
            metavar="FILE",
            type=Path,
            default=Path(STANDARD),
            help="where the proof goes (default: standard output)",
        )
        super().add_arguments(parser)

    def take_action(self, parsed_args: Arguments) -> None:
        """Proves."""
        until, notes = self._moment(parsed_args)
        claim = find(self.region, parsed_args.name).claim
        if claim.claimed_at >= until:
            raise Unknown(
                f"image {claim.uuid} was not claimed before {_said(until)}: "
                "name a later time with --at, or try again in two minutes"
            )
        with (
            self.region.ledger.snapshot() as snapshot,
            progress("claims", None) as advance,
        ):
            proof = agreement.prove(
                snapshot,
                claim.bound,
                until,
                partial(self._signed, notes),
                advance,
            )
        with written(parsed_args.output, self.app.stdout) as put:
            put(str(proof).encode())


class History(RegionLister):
    """List the notes that are kept: what regions have signed, and who.

    Every region signs by itself what it knew at the same moments. A line
    is about what was signed of one moment; all of the last hour are kept,
    and of each hour for 400 days the last one that all have signed, or else
    the last. Missing are those, of the regions configured now, who have not
    signed that; supersedes says in what a note differs from a former one of
    the same moment. Beside the list is told since when and until when all
    have agreed.

    Example: ec2map-sync agreement history -f json
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        add_limit(parser)

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Lists."""
        bus = self.region.bus
        notes = agreement.notes_of(self.region.ledger, bus)
        span = agreement.span_of(notes)
        names = ", ".join(agreement.regions_of(bus))
        if span:
            since, until = map(_said, span)
            self.note(f"agreed from {since} until {until}: {names}")
        else:
            self.note(f"no note has been signed by all of {names}")
        limit = limit_of(parsed_args)
        shown = notes[-limit:] if limit else notes
        return HISTORY, [_row(note) for note in shown]


HISTORY = ("at", "count", "root", "signed_by", "missing", "supersedes")


def _row(note: agreement.HistoryNote) -> tuple[object, ...]:
    return (
        moment(note.terms.until),
        note.terms.count,
        _root(note.terms),
        " ".join(note.signed_by),
        " ".join(note.missing),
        note.supersedes,
    )


def _root(terms: Terms) -> str:
    return base64.b64encode(terms.claims).decode()


class VerifyAgreement(ShowOne):
    """Check a note or a proof, without any configuration or database.

    It holds if it was not changed, and all whose keys are given have signed
    it; of two keys for one name, one is enough. A proof is about any image,
    and an old note is as good as ever: say with --image and --since what is
    expected. What it says is shown then, else exit code is 1 and one line
    says why it is refused. As FILE, - is standard input.

    Example: ec2map-sync agreement verify /etc/proof --key RegionOne=KEY
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "file", metavar="FILE", type=Path, help="a note or a proof"
        )
        parser.add_argument(
            "--key",
            metavar="NAME=ed25519:…",
            action="append",
            required=True,
            help="a region that has to have signed it, and its public key, "
            "as 'ec2map-sync key generate' prints it; may be repeated",
        )
        parser.add_argument(
            "--image",
            metavar="UUID-or-ID",
            help="refuse what is no proof of this image, or of this EC2 id",
        )
        parser.add_argument(
            "--since",
            metavar="TIME",
            help="refuse what is about an earlier moment",
        )

    def take_action(self, parsed_args: Arguments) -> Fields:
        """Verifies."""
        keys = list(_keys(parsed_args.key))
        path: Path = parsed_args.file
        data = _read(path)
        try:
            agreed = agreements.verify(data, keys)
            _require(agreed, parsed_args)
        except BadNote as error:
            raise Refused(f"{path} is refused: {error}") from error
        fields = _shown(agreed)
        return tuple(fields), tuple(fields.values())


def _shown(agreed: Agreed) -> dict[str, object]:
    terms, entry = agreed.terms, agreed.entry
    claim = entry.claim if entry else None
    return {
        "at": moment(terms.until),
        "count": terms.count,
        "root": _root(terms),
        "signed_by": " ".join(agreed.signers),
        "image": claim and claim.image,
        "ec2_id": entry and entry.ec2_id,
        "kind": claim and claim.kind and claim.kind.kind.value,
        "claimed_at": moment(claim.claimed_at) if claim else None,
    }


def _require(agreed: Agreed, expected: Arguments) -> None:
    """Looks whether something is about what it should be.

    :raises BadNote: it is about another image, or of another time.
    """
    entry, until = agreed.entry, agreed.terms.until
    if expected.image:
        name = parse_name(expected.image)
        if entry is None:
            raise BadNote("it is a note, and no proof of any image")
        id_ = expected.image.lower()
        if name != entry.claim.image and id_ != entry.ec2_id:
            raise BadNote(
                f"it is about image {entry.claim.image}, {entry.ec2_id}"
            )
    if expected.since and until < parse_time(expected.since, wall_clock()):
        raise BadNote(f"it is of {_said(until)}, which is too long ago")


def _keys(given: list[str]) -> Iterator[tuple[str, PublicKey]]:
    for text in given:
        name, equals, key = text.partition("=")
        if not name or not equals:
            raise BadArgument(
                f"--key {text[:60]}: it takes the name of a region, =, and "
                "its public key (RegionOne=ed25519:…)"
            )
        yield name, PublicKey(key)


def _read(path: Path) -> bytes:
    try:
        with readable(path, sys.stdin.buffer) as file:
            file.seek(0)
            return file.read(agreements.MAX_PROOF + 1)
    except OSError as error:
        raise BadArgument(f"{path}: {error.strerror}") from error


def _note(path: Path) -> Note:
    try:
        return Note.parse(_read(path))
    except BadNote as error:
        raise BadArgument(f"{path}: {error}") from error


def _said(stamp: Stamp) -> str:
    return iso(time_of(stamp), exact=False)
