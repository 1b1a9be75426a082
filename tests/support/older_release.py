"""Run the agent as releases before were: no deflated body, and no sketch.

    python older_release.py --config-file FILE

It says nothing of what it reads, ignores what it does not know, and refuses
another version than 1.
"""

from typing import Any

from ec2map_sync.agent import main
from ec2map_sync.protocol import messages, wire
from ec2map_sync.rules.claims import Stamp

NEWS = ("reads", "sketch")

todays_question = messages.TO_JSON[messages.Compare]
todays_reading = messages.FROM_JSON["compare"]


def without_news(fields: messages.Json) -> messages.Json:
    """Leave out what such a release did not know."""
    return {k: value for k, value in fields.items() if k not in NEWS}


def question(message: Any) -> tuple[str, messages.Json]:
    """Ask as it did."""
    kind, fields = todays_question(message)
    return kind, without_news(fields)


def read(fields: messages.Json, now: Stamp) -> messages.Message:
    """Read as it did."""
    return todays_reading(without_news(fields), now)


if __name__ == "__main__":
    wire.DEFLATED = 10**6  # which nobody writes
    messages.TO_JSON[messages.Compare] = question
    messages.FROM_JSON["compare"] = read
    main.main()
