"""Guests: what Neutron does for them, and the code that they read with."""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from installed import ROOT, Programs, variables
from nova_processes import NovaProcess
from patience import within

PROGRAM = Path(__file__).parent / "programs" / "read_metadata.py"
READERS = ("cloud_init", "facter", "ohai")


@dataclass(frozen=True)
class Guest:
    """An instance, and the process of Nova's that answers it."""

    instance: str
    nova: NovaProcess


class Neutron(ThreadingHTTPServer):
    """Tells Nova's metadata API who asks: by the first part of the path."""

    def __init__(self, guests: Sequence[Guest]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.guests = {guest.instance: guest for guest in guests}
        self.turn = threading.Lock()

    def url(self, guest: Guest) -> str:
        """Give what stands for http://169.254.169.254 in a guest."""
        return f"http://127.0.0.1:{self.server_port}/{guest.instance}"


class _Handler(BaseHTTPRequestHandler):
    server: Neutron

    def do_GET(self) -> None:
        _, instance, path = self.path.split("/", 2)
        guest = self.server.guests[instance]
        with self.server.turn:
            status, text = guest.nova.answer(instance, f"/{path}")
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(guests: Sequence[Guest]) -> Iterator[Neutron]:
    """Serve the metadata of some guests."""
    with Neutron(guests) as neutron:
        thread = threading.Thread(target=neutron.serve_forever)
        thread.start()
        try:
            yield neutron
        finally:
            neutron.shutdown()
            thread.join()


def read(guests: Sequence[Guest]) -> list[Mapping[str, str]]:
    """Give what each guest reads as its ami-id, by the name of the reader."""
    programs = Programs.installed()
    with served(guests) as neutron:
        done = subprocess.run(
            [programs.path("python"), PROGRAM, str(libraries())],
            input="".join(f"{neutron.url(guest)}\n" for guest in guests),
            capture_output=True,
            text=True,
            env=variables(),
            timeout=within(300),
            check=False,
        )
    if done.returncode:
        raise AssertionError(done.stderr[-4000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def libraries() -> Path:
    """Find cloud-init's code; the first time, unpack it."""
    done = subprocess.run(
        [ROOT / "tools" / "cloud-init-env"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    root = Path(done.stdout.strip()) / "root"
    return root / "usr/lib/python3/dist-packages"


def version() -> str:
    """Tell which cloud-init that is."""
    (info,) = libraries().glob("cloud_init-*.egg-info")
    return info.name.removeprefix("cloud_init-").removesuffix(".egg-info")
