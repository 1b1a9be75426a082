"""Who has signed what: the notes of all regions, as far as they are kept."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from ec2map_sync.ledger import tables
from ec2map_sync.ledger.part import Part, note
from ec2map_sync.protocol.notes import Note, Signature
from ec2map_sync.rules.claims import Stamp
from ec2map_sync.sql.errors import again
from ec2map_sync.sql.statements import batched

HOUR = 3600 * 1_000_000
_GIVEN_UP = "-"
"""Stands before the former text, or alone, where what the region signs has
begun anew since."""

KEPT = 400 * 24 * HOUR
"""Microseconds: for how long one note of each hour is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """That a region has signed the text of a note."""

    until: Stamp
    """The moment that the text is of."""
    region: str
    text: str
    signature: bytes
    at: Stamp
    """When it was signed, or heard of."""
    former: str | None = None
    """What the region had signed of this moment before."""
    binds: bool = True
    """Whether the region would contradict itself by another note: not where
    what it signs has begun anew since."""

    @property
    def note(self) -> Note:
        """The note, with this signature alone."""
        signature = Signature.of(self.region, self.signature)
        return Note(text=self.text, signatures=(signature,))


_s = tables.signatures.c


class Signatures(Part):
    """The newest signature of each region to each moment."""

    @again
    def put(
        self, until: Stamp, text: str, signature: Signature
    ) -> NoteSignature | None:
        """Keeps a signature; returns the one that it supersedes, if any.

        What is known already is not written again.
        """
        key = {"until": until, "region": signature.name}
        there = sa.select(tables.signatures).filter_by(**key)
        with self._writing.begin() as connection:
            row = connection.execute(there).one_or_none()
            before = _signature(row) if row else None
            if (
                before
                and before.binds
                and (before.text, before.signature) == (text, signature.data)
            ):
                return None
            changed = before is not None and before.text != text
            values = {
                "text": text,
                "signature": signature.data,
                "at": self._clock(),
            }
            if before and changed:
                values["former"] = before.text
            elif before and not before.binds:
                values["former"] = before.former
            note(connection, tables.signatures, key, values)
        return before if changed else None

    def give_up(self, region: str) -> None:
        """Lets nothing that a region has signed bind it any more.

        What it signs begins anew.
        """
        former = sa.func.coalesce(_s.former, "")
        mine = sa.update(tables.signatures).where(
            _s.region == region, sa.not_(former.startswith(_GIVEN_UP))
        )
        self._write(mine.values(former=sa.literal(_GIVEN_UP) + former))

    def of(self, until: Stamp) -> list[NoteSignature]:
        """Returns who has signed what of a moment."""
        return self._found(
            sa.select(tables.signatures).where(_s.until == until)
        )

    def latest(self, moments: int | None = None) -> list[NoteSignature]:
        """Returns all of the newest moments, or of every one, in order."""
        found = sa.select(tables.signatures)
        if moments is not None:
            newest = sa.select(_s.until).distinct().order_by(_s.until.desc())
            some = newest.limit(moments).subquery()
            first = sa.select(sa.func.min(some.c.until)).scalar_subquery()
            found = found.where(_s.until >= first)
        return self._found(found)

    def by(self, region: str, until: Stamp) -> NoteSignature | None:
        """Returns what a region has signed of a moment."""
        signers = (one for one in self.of(until) if one.region == region)
        return next(signers, None)

    def thin(self, now: Stamp, regions: Collection[str]) -> None:
        """Forgets most of what is older than an hour.

        Of each hour, the last moment of which all have signed the same
        stays, or the last one if there is none such.
        """
        old = sa.select(tables.signatures).where(_s.until < now - HOUR)
        by_hour = groupby(self._found(old), lambda one: one.until // HOUR)
        gone: list[Stamp] = []
        for hour, signatures in by_hour:
            some = list(signatures)
            moments = {one.until for one in some}
            if (hour + 1) * HOUR > now - KEPT:
                agreed = {u for u, _ in agreed_among(some, regions)}
                moments.discard(max(agreed or moments))
            gone += moments
        for values in batched(gone):
            drop = sa.delete(tables.signatures)
            self._write(drop.where(_s.until.in_(values)))

    def _found(self, statement: sa.Select[Any]) -> list[NoteSignature]:
        ordered = statement.order_by(_s.until, _s.region)
        return [_signature(row) for row in self._rows(ordered)]


def _signature(row: sa.Row[Any]) -> NoteSignature:
    values = dict(row._mapping)
    former = values.pop("former")
    return NoteSignature(
        **values,
        former=(former or "").removeprefix(_GIVEN_UP) or None,
        # So it was of old where there was no text.
        binds=former != "" and not (former or "").startswith(_GIVEN_UP),
    )


def agreed_among(
    signatures: Iterable[NoteSignature], regions: Collection[str]
) -> list[tuple[Stamp, str]]:
    """Returns the moments and texts that all of some regions have signed."""
    signers: dict[tuple[Stamp, str], set[str]] = {}
    for one in signatures:
        signers.setdefault((one.until, one.text), set()).add(one.region)
    return [key for key, names in signers.items() if names >= set(regions)]
