"""Spans, ranges and sketches, as they stand in questions and answers."""

import base64
import re
from itertools import pairwise
from typing import Any

from ec2map_sync.protocol.fields import integer, list_of
from ec2map_sync.rules.claims import END, Bound, Print, Range, Span
from ec2map_sync.rules.errors import BadMessage
from ec2map_sync.rules.sketches import (
    KEYS,
    MOD_CHECK,
    MOD_SUM,
    MOST_BUCKETS,
    TABLES,
    Bucket,
    Shape,
    Sketch,
)

_BOUND = re.compile(r"[0-9a-f-]{0,40}")
_BUCKET_BYTES = 10


def print_from_json(fields: dict[str, Any], *names: str) -> Print:
    """Reads a print: two numbers, under these names."""
    count, total = (integer(fields[name], 0, 2**62, name) for name in names)
    return Print(count, total)


def range_to_json(r: Range) -> list[Any]:
    """Returns a range as [from, to, count, sum]."""
    return [*span_to_json(r.span), r.print.count, r.print.sum]


def _range_from_json(value: Any) -> Range:
    start, stop, count, total = value
    return Range(
        span=span_from_json((start, stop)),
        print=print_from_json({"count": count, "sum": total}, "count", "sum"),
    )


def ranges_from_json(value: Any, most: int) -> tuple[Range, ...]:
    """Reads ranges.

    However many there are, whoever looks at them looks at each claim once.

    :raises BadMessage: they are too many, or overlap, or one is none.
    """
    items = list_of(value)
    if len(items) > most:
        raise BadMessage(f"{len(items)} ranges, where {most} may be")
    ranges = tuple(map(_range_from_json, items))
    spans = sorted(one.span for one in ranges)
    if any(one.stop > other.start for one, other in pairwise(spans)):
        raise BadMessage("ranges that overlap")
    return ranges


def span_to_json(span: Span) -> list[Any]:
    """Returns a span as [from, to]."""
    return [list(span.start), list(span.stop)]


def span_from_json(value: Any) -> Span:
    """Reads a span.

    :raises BadMessage: it is none.
    """
    start, stop = (_bound_from_json(bound) for bound in value)
    if start > stop:
        raise BadMessage("a range ends before it begins")
    return Span(start, stop)


def _bound_from_json(value: Any) -> Bound:
    at, image = value
    if not isinstance(image, str) or not _BOUND.fullmatch(image):
        raise BadMessage(f"a range ends at {str(image)[:40]!r}")
    return Bound(integer(at, 0, END.at + 1, "a bound"), image)


def sketch_to_json(sketch: Sketch) -> dict[str, Any]:
    """Returns a sketch as it stands in questions."""
    packed = b"".join(
        ((b.hashes * MOD_SUM + b.sum) * MOD_CHECK + b.check).to_bytes(
            _BUCKET_BYTES
        )
        for b in sketch.buckets
    )
    return {
        "size": sketch.shape.size,
        "keys": list(sketch.shape.keys),
        "buckets": base64.b64encode(packed).decode(),
    }


def sketch_from_json(fields: Any) -> Sketch:
    """Reads a sketch.

    :raises BadMessage: it is too large, or of no set.
    """
    size = integer(fields["size"], 1, MOST_BUCKETS + 1, "size")
    keys = [
        integer(key, KEYS.start, KEYS.stop, "a key")
        for key in list_of(fields["keys"])
    ]
    packed = base64.b64decode(fields["buckets"], validate=True)
    if len(keys) != TABLES or len(packed) != TABLES * size * _BUCKET_BYTES:
        raise BadMessage("a sketch of another size")
    sketch = Sketch(
        shape=Shape(size=size, keys=tuple(keys)),
        buckets=tuple(
            _bucket(packed[at : at + _BUCKET_BYTES])
            for at in range(0, len(packed), _BUCKET_BYTES)
        ),
    )
    if not sketch.is_sound:
        raise BadMessage("a sketch whose tables are of different claims")
    return sketch


def _bucket(packed: bytes) -> Bucket:
    rest, check = divmod(int.from_bytes(packed), MOD_CHECK)
    count, total = divmod(rest, MOD_SUM)
    return Bucket(count, total, check)
