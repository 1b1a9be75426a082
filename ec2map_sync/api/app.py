"""The WSGI application: what is asked by HTTP, and how it is answered."""

import json
import logging
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from typing import Any
from uuid import uuid4

import falcon

from ec2map_sync.api import page
from ec2map_sync.api.answers import ExplanationAnswer, plain
from ec2map_sync.api.faults import Faults, Gone, Missing
from ec2map_sync.api.lookups import Lookups
from ec2map_sync.api.openapi import document
from ec2map_sync.api.operations import LARGEST_QUESTION, OPERATIONS, Operation
from ec2map_sync.region import Region
from ec2map_sync.rules.errors import BadId
from ec2map_sync.running import counters
from ec2map_sync.settings.config import Config

LOG = logging.getLogger(__name__)

PATIENCE = 5
"""Seconds for a database to answer: so long may a thread be held."""

Application = Callable[..., Any]
Allowed = Callable[[falcon.Request, str], None]
"""Raises unless who asks may do an operation."""


class Envelope:
    """What every answer has: an id, headers, and a place in the metrics."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def process_request(
        self, req: falcon.Request, resp: falcon.Response
    ) -> None:
        """Gives the request an id."""
        req.context.request_id = f"req-{uuid4()}"
        req.context.began = time.monotonic()
        req.context.operation = "other"
        resp.set_header("X-Openstack-Request-Id", req.context.request_id)
        resp.set_header("X-Content-Type-Options", "nosniff")

    def process_response(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        _resource: object,
        succeeded: bool,
    ) -> None:
        """Counts it."""
        name = req.context.operation
        status = resp.status_code
        counters.API_REQUESTS.add(1, name, str(status))
        seconds = time.monotonic() - req.context.began
        counters.API_SECONDS.observe(seconds, name)
        if succeeded:
            self._faults.over()


class Route:
    """What answers one operation."""

    def __init__(
        self, operation: Operation, answer: Callable[[Any], Any], may: Allowed
    ) -> None:
        self._operation = operation
        self._answer = answer
        self._may = may
        setattr(self, f"on_{operation.method.lower()}", self._respond)

    def _respond(
        self, req: falcon.Request, resp: falcon.Response, **path: str
    ) -> None:
        operation = self._operation
        req.context.operation = operation.name
        if not operation.open:
            self._may(req, operation.name)
        asked: dict[str, Any] = {
            one.name: one.read(path.get(one.name) or req.get_param(one.name))
            for one in operation.parameters
        }
        if operation.body is not None:
            asked["body"] = _body(req)
        body = json.dumps(plain(self._answer(asked))).encode()
        respond(req, resp, body, falcon.MEDIA_JSON, operation.max_age)


class Text:
    """What is the same whoever asks, as long as this process lives."""

    def __init__(self, body: bytes, content_type: str, max_age: int) -> None:
        self._answer = partial(
            respond, body=body, content_type=content_type, max_age=max_age
        )

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answers."""
        self._answer(req, resp)


class FleetPage:
    """The page for people."""

    def __init__(self, lookups: Lookups, may: Allowed) -> None:
        self._lookups = lookups
        self._may = may

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Shows the fleet, and what there is to say of an image."""
        req.context.operation = "page"
        for operation in ("regions", "status"):
            self._may(req, operation)
        name = (req.get_param("name") or "").strip()
        found: ExplanationAnswer | str | None = None
        if name:
            self._may(req, "explanation")
            try:
                found = self._lookups.explanation({"name": name})
            except (BadId, Missing, Gone) as error:
                found = str(error)
        text = page.page(
            self._lookups.regions({}),
            self._lookups.status({}),
            name=name,
            found=found,
        )
        resp.set_header("Content-Security-Policy", page.POLICY)
        resp.set_header("Referrer-Policy", "no-referrer")
        respond(req, resp, text.encode(), falcon.MEDIA_HTML, None)


def respond(
    req: falcon.Request,
    resp: falcon.Response,
    body: bytes,
    content_type: str,
    max_age: int | None,
) -> None:
    """Answers; with the tag alone, if who asks has got the same already."""
    resp.set_header("Cache-Control", "no-store")
    if max_age is not None:
        # What one may see with a token is nobody else's to keep.
        resp.set_header("Cache-Control", f"private, max-age={max_age}")
        resp.set_header("Vary", "X-Auth-Token")
        resp.etag = etag = blake2b(body, digest_size=12).hexdigest()
        if any(one in ("*", etag) for one in req.if_none_match or ()):
            resp.status = falcon.HTTP_304
            return
    resp.content_type = content_type
    resp.data = body


def _body(req: falcon.Request) -> Any:
    if (req.content_length or 0) > LARGEST_QUESTION:
        raise falcon.HTTPContentTooLarge(
            description=f"it takes {LARGEST_QUESTION} bytes"
        )
    text = req.bounded_stream.read(LARGEST_QUESTION + 1)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadId(f"the body is no JSON: {error}") from error


def region_of(config: Config) -> Region:
    """Opens a region for look-ups: whoever does not answer costs little."""
    return Region(config, patience=PATIENCE, reads_only=True)


def application(config: Config, region: Region) -> Application:
    """Makes the application."""
    options = config.api
    guard = _guard(config)
    may = guard.may if guard else _everybody
    # Half of the threads are never held by those who wait for news.
    lookups = Lookups(region, waiting=options.threads // 2)
    faults = Faults()
    app: Any = falcon.App(middleware=[Envelope(faults)])
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.keep_blank_qs_values = True
    faults.install(app)
    for operation in OPERATIONS:
        answer = getattr(lookups, operation.name)
        app.add_route(operation.path, Route(operation, answer, may))
    app.add_route("/", FleetPage(lookups, may))
    for name, kind in page.STATIC.items():
        app.add_route(f"/static/{name}", Text(page.static(name), kind, 60))
    described = json.dumps(document(version("ec2map-sync")), indent=1)
    app.add_route(
        "/v1/openapi.json", Text(described.encode(), falcon.MEDIA_JSON, 60)
    )
    return guard.before(app) if guard else app  # type: ignore[no-any-return]


def _guard(config: Config) -> Any:
    if config.api.auth == "none":
        return None
    # An extra: only who has Keystone needs it.
    from ec2map_sync.api.guard import Guard  # noqa: PLC0415

    return Guard(config)


def _everybody(_req: falcon.Request, _operation: str) -> None:
    """Lets everybody ask."""
