"""Glance's API v2 as far as listing goes, on a loopback port.

It answers as Glance 33 does: sorted, filtered and paged, hidden images in a
list of their own. It can be told to be slow, or to fail.
"""

import json
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlparse
from uuid import uuid4

from servers import free_port

LIMIT_MAX = 1000


def now() -> str:
    """Write the time as Glance does."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class FakeImage:
    """An image that Glance has."""

    id: str = field(default_factory=lambda: str(uuid4()))
    container_format: str | None = "bare"
    os_hidden: bool = False
    visibility: str = "private"
    status: str = "active"
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    os_hash_algo: str | None = None
    os_hash_value: str | None = None


class FakeGlance:
    """Serves a list of images while entered."""

    def __init__(self, port: int | None = None) -> None:
        self.images: list[FakeImage] = []
        self.requests: list[dict[str, str]] = []
        """The queries that were answered, or refused."""
        self.page = LIMIT_MAX
        """Images on a page, at most."""
        self.status = 200
        """What listing answers; others than 200 are refusals."""
        self.fail_after: int | None = None
        """Answers 500 to every list after so many."""
        self.hold_after: int | None = None
        """Answers no list after so many, while it is set."""
        self.seconds = 0.0
        """How long an answer takes."""
        self.date: str | None = None
        """What its answers give as the time, if not the present one."""
        self.roles_needed = False
        """Answers 401 to requests that do not bring X-Roles: admin."""
        self.port = port or free_port()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """The endpoint, unversioned."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, uuid: str | None = None, **fields: Any) -> FakeImage:
        """Create an image."""
        if uuid is not None:
            fields["id"] = uuid
        image = FakeImage(**fields)
        self.images.append(image)
        return image

    def update(self, image: FakeImage, **fields: Any) -> None:
        """Change an image, now."""
        for name, value in fields.items():
            setattr(image, name, value)
        image.updated_at = now()

    def start(self) -> None:
        """Begin to answer."""
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", self.port), _handler(self)
        )
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        ).start()

    def stop(self) -> None:
        """Be gone: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def answer(self, query: dict[str, str]) -> dict[str, Any]:
        """Answer a list request; raises KeyError for an unknown marker."""
        images = self._matching(query)
        sort = query.get("sort", "created_at:desc,id:desc")
        for part in reversed(sort.split(",")):
            key, _, way = part.partition(":")
            images.sort(
                key=lambda image: str(getattr(image, key)),
                reverse=way == "desc",
            )
        if "marker" in query:
            places = {image.id: n for n, image in enumerate(images)}
            images = images[places[query["marker"]] + 1 :]
        page = images[: min(int(query.get("limit", 25)), self.page)]
        answer: dict[str, Any] = {
            "images": [asdict(image) for image in page],
            "first": "/v2/images",
            "schema": "/v2/schemas/images",
        }
        if len(page) < len(images):
            onward = urlencode(query | {"marker": page[-1].id})
            answer["next"] = f"/v2/images?{onward}"
        return answer

    def _matching(self, query: dict[str, str]) -> list[FakeImage]:
        hidden = query.get("os_hidden", "false").lower() == "true"
        found = [
            image
            for image in self.images
            if image.os_hidden == hidden
            and (
                query.get("visibility") == "all"
                or image.visibility == "public"
            )
        ]
        for name in ("created_at", "updated_at"):
            if name in query:
                operator, _, moment = query[name].partition(":")
                assert operator == "gte", query
                found = [i for i in found if getattr(i, name) >= moment]
        return found


def _handler(glance: FakeGlance) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer."""
            time.sleep(glance.seconds)
            asked = urlparse(self.path)
            if asked.path in {"/", "/v2", "/v2/"}:
                self._send(300, _versions(glance.url))
                return
            query = {k: v[0] for k, v in parse_qs(asked.query).items()}
            lists = len(glance.requests)
            glance.requests.append(query)
            while glance.hold_after is not None and lists >= glance.hold_after:
                time.sleep(0.05)
            known = self.headers.get("X-Roles") == "admin"
            if glance.roles_needed and not known:
                self._send(401, {})
            elif glance.status != 200:
                self._send(glance.status, {})
            elif glance.fail_after is not None and lists >= glance.fail_after:
                self._send(500, {})
            else:
                try:
                    self._send(200, glance.answer(query))
                except KeyError:
                    self._send(404, {})

        def date_time_string(self, timestamp: float | None = None) -> str:
            """Give the time for the Date header."""
            return glance.date or super().date_time_string(timestamp)

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    return Handler


def _versions(url: str) -> dict[str, Any]:
    links = [{"rel": "self", "href": f"{url}/v2/"}]
    current = {"id": "v2.17", "status": "CURRENT", "links": links}
    return {"versions": [current]}
