"""What may be asked of the API: the routes, and their description."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ec2map_sync.api import answers
from ec2map_sync.rules.errors import BadId

MOST_AT_ONCE = 1000
"""Images of one page, and names of one look-up."""
USUAL = 100
"""Images of a page, unless it is said otherwise."""
LONGEST_WAIT = 30
"""Seconds that a question may wait for news."""
LARGEST_QUESTION = 128 * 1024
"""Bytes of a question: a thousand UUIDs are 40,000."""

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Something that an operation takes in its path or query."""

    name: str
    text: str
    schema: Mapping[str, Any]
    place: str = "query"

    def read(self, given: str | None) -> Any:
        """Reads what was given, or the default.

        :raises BadId: it does not fit.
        """
        default = self.schema.get("default")
        if given is None:
            return default
        if self.schema["type"] != "integer":
            return given
        least, most = self.schema["minimum"], self.schema["maximum"]
        if not _NUMBER.fullmatch(given):
            raise BadId(f"{self.name}={given[:40]!r} is no number")
        if not least <= int(given) <= most:
            raise BadId(f"{self.name}: it takes {least} to {most}")
        return int(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that may be asked."""

    name: str
    """That of the method of `Lookups`, and of the rule of oslo.policy."""
    method: str
    path: str
    text: str
    answer: type
    errors: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    open: bool = False
    """Whether it needs no token: it tells nothing of images or regions."""
    body: Mapping[str, Any] | None = None
    max_age: int | None = None
    """Seconds for which an answer may be kept; None forbids it."""


_NAME = Parameter(
    name="name",
    text="An image's UUID, or an EC2 id (ami-…, aki-…, ari-…).",
    schema={"type": "string"},
    place="path",
)
_PAGE = (
    Parameter(
        name="marker",
        text="Begin behind this image: a UUID or an EC2 id.",
        schema={"type": "string"},
    ),
    Parameter(
        name="limit",
        text="Images of a page, at most.",
        schema={
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_AT_ONCE,
            "default": USUAL,
        },
    ),
    Parameter(
        name="since",
        text="A cursor, 'next' of an earlier answer: what has changed since.",
        schema={"type": "string"},
    ),
    Parameter(
        name="wait",
        text="Seconds to wait for news, if there are none since the cursor.",
        schema={
            "type": "integer",
            "minimum": 0,
            "maximum": LONGEST_WAIT,
            "default": 0,
        },
    ),
)
_ASKED = {
    "type": "object",
    "required": ["images"],
    "properties": {
        "images": {
            "type": "array",
            "items": {"type": "string"},
            "maxItems": MOST_AT_ONCE,
            "description": "UUIDs and EC2 ids.",
        }
    },
}

OPERATIONS = (
    Operation(
        name="version",
        method="GET",
        path="/v1",
        text="Which version this is.",
        answer=answers.VersionAnswer,
        open=True,
        max_age=60,
    ),
    Operation(
        name="image",
        method="GET",
        path="/v1/images/{name}",
        text="An image, by its UUID or its EC2 id, whatever its prefix.",
        answer=answers.ImageAnswer,
        errors=(400, 404, 410),
        parameters=(_NAME,),
        # An id changes by a move only, which is rare.
        max_age=60,
    ),
    Operation(
        name="explanation",
        method="GET",
        path="/v1/images/{name}/explanation",
        text="Why an image has its id, and what each sink holds.",
        answer=answers.ExplanationAnswer,
        errors=(400, 404, 410),
        parameters=(_NAME,),
    ),
    Operation(
        name="images",
        method="GET",
        path="/v1/images",
        text="All images that have an id, in the order of the feed.",
        answer=answers.PageAnswer,
        errors=(400, 404, 410),
        parameters=_PAGE,
        max_age=0,
    ),
    Operation(
        name="lookup",
        method="POST",
        path="/v1/images:lookup",
        text="Up to 1,000 images at once.",
        answer=answers.LookupAnswer,
        errors=(400, 413),
        body=_ASKED,
    ),
    Operation(
        name="regions",
        method="GET",
        path="/v1/regions",
        text="Which region agrees with which, and until when.",
        answer=answers.RegionsAnswer,
    ),
    Operation(
        name="status",
        method="GET",
        path="/v1/status",
        text="How this region is: what 'ec2map-sync status' shows.",
        answer=answers.StatusAnswer,
    ),
)
