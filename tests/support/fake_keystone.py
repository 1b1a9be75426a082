"""Keystone as far as a client and a service need it: one user, one token."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from servers import free_port

from ec2map_sync.api.server import HttpServer
from ec2map_sync.settings.addresses import Listen
from ec2map_sync.settings.values import Api

OPTIONS = Api(
    auth="none", allow_unauthenticated=False, threads=2, connections=100
)
TOKENS = {"admin": "a" * 32, "reader": "b" * 32, "nobody": "c" * 32}
"""Who has which: the name of the role too, but for nobody's."""


@contextmanager
def serving(application: object, port: int | None = None) -> Iterator[str]:
    """Answer on a free port while entered; the address."""
    listen = Listen("127.0.0.1", port or free_port())
    server = HttpServer(listen, application, OPTIONS)  # type: ignore[arg-type]
    ends = Event()

    def serve() -> None:
        while not ends.is_set():
            server.step()
        server.close()

    server.step()
    thread = Thread(target=serve)
    thread.start()
    try:
        yield f"http://{listen}"
    finally:
        ends.set()
        thread.join()


class FakeKeystone:
    """Hands out tokens with a catalogue, and says what they are worth."""

    def __init__(self) -> None:
        self.address = ""
        """Where it is served."""
        self.endpoints: dict[str, str] = {}
        """Of the service ec2-mapping, by region."""

    def token(self, who: str) -> dict[str, Any]:
        """Write somebody's token."""
        catalogue = {
            "identity": dict.fromkeys(self.endpoints, self.address),
            "ec2-mapping": self.endpoints,
        }
        domain = {"id": "default", "name": "Default"}
        return {
            "token": {
                "methods": ["password"],
                "user": {"id": who, "name": who, "domain": domain},
                "project": {"id": "p", "name": "p", "domain": domain},
                "roles": [{"id": who, "name": who}] * (who != "nobody"),
                "issued_at": "2026-01-01T00:00:00.000000Z",
                "expires_at": "2999-01-01T00:00:00.000000Z",
                "catalog": [
                    {
                        "id": kind,
                        "type": kind,
                        "name": kind,
                        "endpoints": [
                            {
                                "id": f"{kind}-{region}",
                                "interface": "public",
                                "region": region,
                                "region_id": region,
                                "url": url,
                            }
                            for region, url in urls.items()
                        ],
                    }
                    for kind, urls in catalogue.items()
                ],
            }
        }

    def __call__(
        self, environ: WSGIEnvironment, start: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request."""
        status, headers = "200 OK", []
        body: dict[str, Any] = {}
        if environ["PATH_INFO"].endswith("/auth/tokens"):
            asked = environ.get("HTTP_X_SUBJECT_TOKEN")
            who = "admin"
            if environ["REQUEST_METHOD"] == "POST":
                status = "201 Created"
                headers = [("X-Subject-Token", TOKENS[who])]
            else:
                known = {token: name for name, token in TOKENS.items()}
                who = known.get(asked or "", "")
            if who:
                body = self.token(who)
            else:
                status = "404 Not Found"
        else:
            version = {
                "id": "v3.14",
                "status": "stable",
                "links": [{"rel": "self", "href": f"{self.address}/v3/"}],
            }
            one = environ["PATH_INFO"].startswith("/v3")
            body = (
                {"version": version}
                if one
                else {"versions": {"values": [version]}}
            )
        text = json.dumps(body).encode()
        headers += [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(text))),
        ]
        start(status, headers)
        return [text]
