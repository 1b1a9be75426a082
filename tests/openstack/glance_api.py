"""Glance's own API, served on a loopback port.

There is no Keystone: whoever brings a token is an administrator.
"""

import json
from pathlib import Path
from typing import Any

import requests
from installed import Programs, variables
from patience import within
from servers import Server, free_port

PROGRAM = Path(__file__).parent / "programs" / "serve_glance.py"
TOKEN = "operator"
ANSWER_SECONDS = within(60)

SIZE_CAP = 1_000_000
"""Bytes: an image that turns out to be larger is refused."""

CONFIGURATION = """
[DEFAULT]
transport_url = {broker}
log_file = {directory}/glance.log
image_size_cap = {size_cap}
enabled_backends = fast:file
enabled_import_methods = [glance-direct,web-download,glance-download]
worker_self_reference_url = {url}
node_staging_uri = file://{directory}/staging
[database]
connection = {database}
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/images
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = []
[oslo_messaging_notifications]
driver = messagingv2
topics = notifications,ec2map_sync
[paste_deploy]
config_file = {directory}/paste.ini
"""

PASTE = """
[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api
[pipeline:api]
pipeline = versionnegotiation context rootapp
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[filter:versionnegotiation]
paste.filter_factory = \
glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:context]
paste.filter_factory = \
glance.api.middleware.context:ContextMiddleware.factory
"""


class Glance(Server):
    """Glance's API, in a process of its own."""

    def __init__(self, directory: Path, programs: Programs) -> None:
        super().__init__(directory)
        self.programs = programs
        self.port = free_port()
        self.catalog: list[dict[str, object]] = []
        self.session = requests.Session()
        self.session.headers["X-Auth-Token"] = TOKEN

    @property
    def url(self) -> str:
        """The endpoint, unversioned."""
        return f"http://127.0.0.1:{self.port}"

    def configure(self, broker: str, database: str) -> None:
        """Write its configuration."""
        for name in ("images", "tasks", "staging"):
            (self.directory / name).mkdir(exist_ok=True)
        text = CONFIGURATION.format(
            broker=broker,
            database=database,
            directory=self.directory,
            size_cap=SIZE_CAP,
            url=self.url,
        )
        (self.directory / "glance-api.conf").write_text(text)
        (self.directory / "paste.ini").write_text(PASTE)

    def create(self, **fields: object) -> str:
        """Create an image, a small raw one unless told; its id."""
        image = {
            "name": "test",
            "disk_format": "raw",
            "container_format": "bare",
        } | fields
        return str(self.ask("POST", "/images", json=image)["id"])

    def upload(self, image: str, data: bytes = b"data") -> None:
        """Upload an image's data."""
        self.ask(
            "PUT",
            f"/images/{image}/file",
            data=data,
            headers={"Content-Type": "application/octet-stream"},
        )

    def start_import(self, image: str, **method: object) -> None:
        """Let Glance fetch an image's data by itself."""
        self.ask("POST", f"/images/{image}/import", json={"method": method})

    def status(self, image: str) -> str:
        """Give an image's status."""
        return str(self.ask("GET", f"/images/{image}")["status"])

    def delete(self, image: str) -> None:
        """Delete an image."""
        self.ask("DELETE", f"/images/{image}")

    def images(self) -> set[str]:
        """Give the ids of all images but the hidden ones."""
        found = set()
        path = "/images?limit=1000"
        while path:
            page = self.ask("GET", path)
            found |= {image["id"] for image in page["images"]}
            path = page.get("next", "").removeprefix("/v2")
        return found

    def ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Send a request; the object that is answered, if any."""
        answer = self.session.request(
            method,
            f"{self.url}/v2{path}",
            timeout=ANSWER_SECONDS,
            **arguments,
        )
        if not answer.ok:
            raise Refused(method, path, answer)
        return dict(answer.json()) if answer.content else {}

    def manage(self, *arguments: str) -> str:
        """Run glance-manage."""
        return self.programs.run(
            "glance-manage",
            "--config-file",
            str(self.directory / "glance-api.conf"),
            *arguments,
        )

    def _command(self) -> list[str]:
        return [
            self.programs.path("python"),
            str(PROGRAM),
            str(self.port),
            TOKEN,
            json.dumps(self.catalog),
        ]

    def _variables(self) -> dict[str, str]:
        return (
            super()._variables()
            | variables()
            | {"OS_GLANCE_CONFIG_DIR": str(self.directory)}
        )

    def _answers(self) -> bool:
        try:
            requests.get(self.url, timeout=within(5))
        except requests.ConnectionError:
            return False
        return True


class Refused(Exception):
    """Glance has answered with an error."""

    def __init__(
        self, method: str, path: str, answer: requests.Response
    ) -> None:
        super().__init__(
            f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        )
        self.status = answer.status_code
