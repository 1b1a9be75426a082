"""Stamps: what gives them, and how operators write and read them."""

import re
import time
from datetime import UTC, datetime, timedelta

from ec2map_sync.rules.claims import Stamp
from ec2map_sync.rules.errors import Ec2MapError

MAX_AHEAD = 24 * 3600 * 1_000_000
"""Microseconds by which a stamp may be ahead of a clock: of that of whoever
stamps, and of whoever reads it."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadTime(Ec2MapError):
    """A text is no time."""


class BadStamp(Ec2MapError):
    """A stamp would be one that all other regions refuse."""

    def __init__(self, stamp: Stamp, now: Stamp) -> None:
        newest, clock = (iso(time_of(at), exact=False) for at in (stamp, now))
        until = iso(time_of(stamp - MAX_AHEAD), exact=False)
        super().__init__(
            f"nothing new is claimed: the ledger's newest stamp is {newest}, "
            f"the clock here says {clock}, and peers refuse what is more "
            "than 24 h ahead; set this clock if it is behind, else see "
            f"'ec2map-sync db restamp', or wait until {until}"
        )


class WrongClock(BadStamp):
    """Our clock is far ahead of the ledger's database's."""

    def __init__(self, now: Stamp, witness: Stamp) -> None:
        ours, theirs = (iso(time_of(at), exact=False) for at in (now, witness))
        Ec2MapError.__init__(
            self,
            f"nothing new is claimed: the clock here says {ours}, that of the "
            f"ledger's database {theirs}; set the one that is wrong",
        )


def next_stamp(last: Stamp, now: Stamp, witness: Stamp | None = None) -> Stamp:
    """Returns a stamp later than the last one, and not before ``now``.

    ``witness`` is the time by another clock, if there is one.

    :raises BadStamp: it would be too far ahead.
    """
    if witness is not None and now >= witness + MAX_AHEAD:
        raise WrongClock(now, witness)
    stamp = max(now, last + 1)
    if stamp >= now + MAX_AHEAD:
        raise BadStamp(stamp, now)
    return stamp


def wall_clock() -> Stamp:
    """Returns the time in microseconds since 1970."""
    return time.time_ns() // 1000


def earlier(stamp: Stamp, seconds: float) -> Stamp:
    """Returns the stamp so many seconds before another."""
    return stamp - int(seconds * 1_000_000)


def time_of(stamp: Stamp) -> datetime:
    """Returns a stamp as a time."""
    try:
        return _EPOCH + timedelta(microseconds=stamp)
    except OverflowError:  # after the year 9999
        return datetime.max.replace(tzinfo=UTC)


def parse_time(text: str, now: Stamp) -> Stamp:
    """Reads ISO 8601 (UTC unless it says otherwise), or "2h", "3d" ago.

    :raises BadTime: it is neither.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        seconds = float(ago[1]) * _SECONDS[ago[2]]
        return max(0, now - int(seconds * 1_000_000))
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadTime(
            f"{text[:40]!r} is no time: 2026-01-31T12:00:00 (UTC), or 90m, "
            "2h, 3d ago"
        ) from error
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0, (at - _EPOCH) // timedelta(microseconds=1))


def iso(at: datetime, *, exact: bool) -> str:
    """Writes a time in UTC, with seconds, or exactly (microseconds)."""
    text = at.astimezone(UTC).isoformat(
        timespec="microseconds" if exact else "seconds"
    )
    return text.replace("+00:00", "Z")
