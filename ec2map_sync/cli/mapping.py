"""ec2map-sync show, list, explain."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ec2map_sync.cli.base import (
    Arguments,
    Fields,
    Parser,
    Rows,
    Unknown,
    add_limit,
    limit_of,
)
from ec2map_sync.cli.regional import RegionLister, RegionShowOne
from ec2map_sync.cli.values import moment
from ec2map_sync.ledger.queries import Mapped
from ec2map_sync.operate import mapping
from ec2map_sync.operate.mapping import Explanation
from ec2map_sync.region import Region
from ec2map_sync.rules.claims import BEGINNING, Bound
from ec2map_sync.rules.ec2id import ON_DEMAND, parse_name


class Show(RegionShowOne):
    """Show an image's EC2 id, or the image that an EC2 id stands for.

    Sinks tells what each sink holds under that number, or ec2-api under that
    id; an empty one holds nothing, "unknown" stands for one that does not
    answer. Exit code 1 if the image or the id is not known here.

    Example: ec2map-sync show ami-1f2e3d4c
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        add_name(parser)

    def take_action(self, parsed_args: Arguments) -> Fields:
        """Looks it up."""
        mapped = find(self.region, parsed_args.name)
        claim = mapped.claim
        held = mapping.held(self.region.sinks, mapped)
        for one in held:
            if one.trouble:
                self.note(f"{one.sink} does not answer: {one.trouble}")
        fields = {
            "image": mapped.uuid,
            "ec2_id": mapped.ec2_id,
            "number": mapped.number,
            "kind": claim.kind and claim.kind.kind.value,
            "claimed_at": moment(claim.claimed_at),
            "wanted": claim.wanted and claim.ec2_id(claim.wanted.number),
            "sinks": {one.sink: one.text for one in held},
        }
        return tuple(fields), tuple(fields.values())


class List(RegionLister):
    """List images and their EC2 ids, in the order of their claims.

    A long list comes in pages: the last image of one is the --marker of
    the next. With --moved, each move and its cause are told beside the
    list.

    Example: ec2map-sync list --divergent -f value -c image
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        parser.add_argument(
            "--moved",
            action="store_true",
            help="only images whose number has changed some time",
        )
        parser.add_argument(
            "--divergent",
            action="store_true",
            help="only images that some sink does not hold as settled",
        )
        parser.add_argument(
            "--marker",
            metavar="ID",
            help="begin after this image (UUID or EC2 id)",
        )
        add_limit(parser)

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Lists."""
        limit = limit_of(parsed_args)
        after = BEGINNING
        if parsed_args.marker:
            after = find(self.region, parsed_args.marker).after
        found = self._found(after, parsed_args)
        if limit:
            found = self._some(found, limit)
        if parsed_args.moved:
            found = self._with_moves(found)
        return ("image", "ec2_id", "kind", "claimed_at"), map(_row, found)

    def _with_moves(self, found: Iterator[Mapped]) -> Iterator[Mapped]:
        while page := list(islice(found, mapping.PAGE)):
            for image, said in mapping.moves(self.region.ledger, page):
                self.note(f"{image}: {said}")
            yield from page

    def _found(self, after: Bound, chosen: Arguments) -> Iterator[Mapped]:
        region = self.region
        for page in mapping.mappings(region.ledger, after, moved=chosen.moved):
            if chosen.divergent:
                wrong = mapping.divergent(page, region.sinks)
                yield from (m for m in page if m.claim.image in wrong)
            else:
                yield from page

    def _some(self, found: Iterator[Mapped], limit: int) -> Iterator[Mapped]:
        last = None
        for last in islice(found, limit):
            yield last
        if last and next(found, None):
            self.note(f"there are more: go on with --marker {last.uuid}")


class Explain(RegionLister):
    """Explain why an image has the EC2 id that it has.

    How its numbers are derived and who sits on them, adoption, moves and
    their causes, what each sink holds, and what a guest sees there: from the
    rows, from what Nova remembers in memcached ([nova] memcached_servers), and
    in instances that carry another id. This needs a look through the whole of
    s3_images and of instances, which have no index for it: a quarter of a
    second with a million rows.

    Example: ec2map-sync explain 71ed3a2c-33a0-4d3c-9d4e-2f6c6f2b6c34
    """

    def add_arguments(self, parser: Parser) -> None:
        """Says what it takes."""
        add_name(parser)

    def take_action(self, parsed_args: Arguments) -> Rows:
        """Explains."""
        region = self.region
        mapped = find(region, parsed_args.name)
        explanation = Explanation(
            region.ledger, region.sinks, mapped, guests=region.guests
        )
        return (
            ("step", "what", "detail"),
            [(n, *s) for n, s in enumerate(explanation.steps(), start=1)],
        )


def find(region: Region, text: str) -> Mapped:
    """Looks up what an operator names.

    :raises Unknown: no such image is claimed, or no image has this id.
    """
    name = parse_name(text)
    if isinstance(name, int) and name >= ON_DEMAND.stop:
        raise Unknown(f"no image has the id {text.lower()}")
    mapped = mapping.find(region.ledger, name)
    if mapped:
        return mapped
    if isinstance(name, str):
        raise Unknown(f"image {name} is not known in {region.config.region}")
    wish = region.ledger.queries.wishes([name]).get(name)
    reserved = f"; it is reserved for image {wish.image}" if wish else ""
    raise Unknown(f"no image has the id {text.lower()}{reserved}")


def add_name(parser: Parser) -> None:
    """Lets a command take an image."""
    parser.add_argument(
        "name", metavar="UUID-or-EC2-id", help="an image's UUID, or ami-…"
    )


def _row(mapped: Mapped) -> Sequence[Any]:
    claim = mapped.claim
    return (
        mapped.uuid,
        mapped.ec2_id,
        claim.kind and claim.kind.kind.value,
        moment(claim.claimed_at),
    )
