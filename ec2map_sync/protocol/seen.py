"""How a region sees its peers, as it tells them with its heartbeats.

What is malformed is left out, and refuses no heartbeat: nothing is decided by
it but what the one that is seen has signed itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ec2map_sync.protocol.fields import is_text
from ec2map_sync.rules.claims import Stamp

MOST_SEEN = 64
"""Peers that are told of, and read."""
_LONGEST = 64
_LARGEST = 2**62
_MOST_HELD = 512
"""Characters of a statement with its signature: it has 450 at most."""

STATES = ("agrees", "differs", "late", "silent", "never heard")
"""How a peer may be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A peer as a region sees it; None is what is not known."""

    name: str
    state: str
    agrees_until: Stamp | None = None
    lag: int | None = None
    """Claims by which they differ."""
    canary: Stamp | None = None
    """When the newest of its canaries that is recorded there was made."""
    canary_at: Stamp | None = None
    """When it was recorded, by the clock there."""
    holds: str = ""
    """What the peer has stated last, as it has signed that, where what it
    states now is refused for that."""


def seen_to_json(views: Iterable[Seen]) -> list[list[Any]]:
    """Returns them as they stand in heartbeats."""
    return [[v.name, v.state, v.agrees_until, v.lag, *_more(v)] for v in views]


def seen_from_json(value: Any) -> tuple[Seen, ...]:
    """Reads what can be understood."""
    if not isinstance(value, list):
        return ()
    views = filter(None, map(_read, value[:MOST_SEEN]))
    return tuple({view.name: view for view in views}.values())


def as_told_to(region: str, views: Iterable[Seen]) -> list[Seen]:
    """Returns views with what is held against a region, and nobody else."""
    return [v if v.name == region else replace(v, holds="") for v in views]


def _more(view: Seen) -> list[Any]:
    """Returns what many have nothing to say of."""
    if view.holds:
        return [view.canary, view.canary_at, view.holds]
    return [view.canary, view.canary_at] if view.canary else []


def _read(value: Any) -> Seen | None:
    match value:
        case [str(name), str(state), until, lag, *more] if (
            0 < len(name) <= _LONGEST and is_text(name) and state in STATES
        ):
            # Releases of before say nothing of canaries, or what they hold.
            canary, canary_at, holds, *_ = *more, None, None, None
            return Seen(
                name=name,
                state=state,
                agrees_until=_number(until),
                lag=_number(lag),
                canary=_number(canary),
                canary_at=_number(canary_at),
                holds=_statement(holds),
            )
    return None


def _number(value: Any) -> int | None:
    good = type(value) is int and 0 <= value < _LARGEST
    return value if good else None


def _statement(value: Any) -> str:
    good = is_text(value) and len(value) <= _MOST_HELD
    return value if good else ""
