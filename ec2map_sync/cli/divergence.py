"""ec2map-sync divergence list, divergence resolve."""

from collections.abc import Iterable, Sequence

from ec2map_sync.cli.base import (
    NOT_IN_ORDER,
    Arguments,
    BadArgument,
    Parser,
    Rows,
    Unknown,
    add_dry_run,
)
from ec2map_sync.cli.regional import RegionCommand, RegionLister
from ec2map_sync.rules.ec2id import Kind, format_id, image_key
from ec2map_sync.rules.names import is_cell
from ec2map_sync.rules.rows import Divergence
from ec2map_sync.sinks.memory import MemoSilent

COLUMNS = ("sink", "image", "class", "found", "settled", "guest_sees")


class ListDivergences(RegionLister):
    """List the rows in Nova's cells that are not as settled.

    What the agent has found at its latest audit of each sink. Legacy: Nova's
    own from before, can be adopted. On-demand: Nova's own, made beside us.
    Taken: our number is held by another image's row. Foreign: somebody's
    row in our band. Kept: the operator has chosen to leave it. What a guest
    sees is what Nova remembers in memcached ([nova] memcached_servers), or
    else the row that it finds first.

    Example: ec2map-sync divergence list -f json
    """

    def take_action(self, _parsed_args: Arguments) -> Rows:
        """Lists."""
        ledger = self.region.ledger
        found = ledger.divergences.found()
        claims = ledger.claims({one.image for one in found})
        seen = self._guests_see(found)
        rows = []
        for one in found:
            claim = claims.get(one.image)
            kind = claim.kind.kind if claim and claim.kind else None
            name = one.row_class.value + (", kept" if one.kept else "")
            rows.append(
                (
                    one.sink,
                    one.image,
                    name,
                    format_id(one.number, kind),
                    _id(one.settled, kind),
                    _id(seen.get((one.sink, one.image)), kind),
                )
            )
        return COLUMNS, rows

    def _guests_see(
        self, found: Sequence[Divergence]
    ) -> dict[tuple[str, str], int]:
        """Returns what Nova answers, from memos and rows that are known of.

        By primary key: Nova's table has no index on uuid.
        """
        seen: dict[tuple[str, str], int] = {}
        for sink in self.region.sinks:
            here = [one for one in found if one.sink == sink.name]
            numbers = {one.number for one in here}
            numbers |= {one.settled for one in here if one.settled}
            rows = sink.seen(sorted(numbers))
            for uuid, number in (rows | self._memos(sink.name, rows)).items():
                seen[sink.name, uuid.lower()] = number
        return seen

    def _memos(self, sink: str, images: Iterable[str]) -> dict[str, int]:
        """Returns what Nova answers without a look at the rows."""
        remembered = self.region.remembered(sink)
        if remembered is None:
            return {}
        try:
            return {u: min(found) for u, found in remembered(images).items()}
        except MemoSilent as error:
            self.note(f"{sink}: {error}; guest_sees is from the rows")
            return {}


class ResolveDivergences(RegionCommand):
    """Leave diverging rows as they are, or make them as settled.

    Keep: the rows stay, and count no longer as something to look at.
    Rewrite: rows of these images that are not as settled are deleted, and
    ours written; exit code 1 if some stay, as rows that ec2-api's users have
    taken over do. Nova remembers an old id for up to a week: in each process
    until that is restarted, or in memcached, where the agent deletes it if
    [nova] memcached_servers says where. What is in the config drive of an
    instance stays.

    Example: ec2map-sync divergence resolve rewrite --all --dry-run
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "how", choices=["keep", "rewrite"], help="leave them, or write"
        )
        parser.add_argument(
            "images", metavar="IMAGE", nargs="*", help="an image's UUID"
        )
        parser.add_argument("--all", action="store_true", help="every one")
        add_dry_run(parser, "which rows it would be")

    def take_action(self, parsed_args: Arguments) -> None:
        """Resolves."""
        found = self._choose(parsed_args)
        if parsed_args.how == "rewrite":
            found = self._replaceable(found)
        for one in found:
            self.out(
                f"{one.sink}: row {one.number} of {one.image} "
                f"({one.row_class.value})"
            )
        if parsed_args.dry_run:
            return
        if parsed_args.how == "keep":
            self.region.ledger.divergences.keep(found)
            return
        self._rewrite(found)
        self._tell_of_memos({one.sink for one in found})

    def _tell_of_memos(self, sinks: Iterable[str]) -> None:
        for sink in sorted(sinks):
            if self.config.memcached(sink):
                self.note(
                    f"{sink}: the agent deletes what Nova remembers of them "
                    "in memcached; 'status' says if it waits for a server"
                )
            elif is_cell(sink):
                self.note(
                    f"{sink}: Nova remembers an old id for up to a week: "
                    "restart nova-conductor and nova-api-metadata to make "
                    "the new one seen at once; where they remember it in "
                    "memcached, set [nova] memcached_servers instead"
                )

    def _replaceable(self, found: Sequence[Divergence]) -> list[Divergence]:
        """Leaves out rows of images that nobody has claimed."""
        for one in found:
            if not one.replaceable:
                self.note(
                    f"{one.sink}: row {one.number} stays: nothing is settled "
                    f"for image {one.image}"
                )
        return [one for one in found if one.replaceable]

    def _choose(self, parsed_args: Arguments) -> list[Divergence]:
        if parsed_args.all == bool(parsed_args.images):
            raise BadArgument("name images, or give --all")
        images = [image_key(text) for text in parsed_args.images]
        found = self.region.ledger.divergences.found(images or None)
        for image in images:
            if all(one.image != image for one in found):
                raise Unknown(f"no divergence of image {image} is known")
        return found

    def _rewrite(self, found: Sequence[Divergence]) -> None:
        for name in sorted({one.sink for one in found}):
            here = [one for one in found if one.sink == name]
            sink = self.region.sink(name)
            self.region.writer(sink).replace(here)
            rows = sink.rows(one.number for one in here)
            there = {(row.number, row.uuid.lower()) for row in rows}
            left = [one for one in here if (one.number, one.image) in there]
            for one in left:
                self.exit_code = NOT_IN_ORDER
                self.note(
                    f"{one.sink}: row {one.number} of {one.image} stays, as "
                    "its owner uses it"
                )
            gone = [one for one in here if one not in left]
            self.region.ledger.divergences.forget(gone)


def _id(number: int | None, kind: Kind | None) -> str | None:
    return None if number is None else format_id(number, kind)
