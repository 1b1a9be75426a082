"""Run the agent as a later release might be: it says more than today's.

    python next_release.py VERSION --config-file FILE

Unknown fields stand in all that it sends: in each message, in each claim and
among the headers. VERSION is that of the messages.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from ec2map_sync.agent import main
from ec2map_sync.protocol import messages, wire

NEWS = {"priority": None, "reasons": ["of a later release"]}

Writing = Callable[[Any], tuple[str, messages.Json]]


def saying_more(write: Writing) -> Writing:
    """Add fields to what a message says, and to each claim in it."""

    def written(message: Any) -> tuple[str, messages.Json]:
        kind, fields = write(message)
        claims = [claim | NEWS for claim in fields.get("claims", [])]
        more = {"claims": claims} if "claims" in fields else {}
        return kind, fields | more | NEWS

    return written


def encode(
    message: messages.Message, pen: wire.Pen, reads: int = 1
) -> tuple[Mapping[str, Any], bytes]:
    """Add headers to those of today."""
    headers, body = todays_encode(message, pen, reads)
    return headers | {"trace": "a", "hops": 1}, body


todays_encode = wire.encode

if __name__ == "__main__":
    wire.VERSION = int(sys.argv.pop(1))
    wire.encode = encode  # type: ignore[assignment]
    for kind, write in messages.TO_JSON.items():
        messages.TO_JSON[kind] = saying_more(write)
    main.main()
