"""Nova's own code, in as many processes as one likes."""

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from installed import Programs, variables
from patience import within
from servers import Server, free_port

PROGRAM = Path(__file__).parent / "programs" / "run_nova.py"
ANSWER_SECONDS = within(120)

CONFIGURATION = """
[DEFAULT]
transport_url = {broker}
log_file = {directory}/nova.log
concurrency_backend = threading
[neutron]
service_metadata_proxy = true
metadata_proxy_shared_secret = secret
[api_database]
connection = {api_database}
[database]
connection = {database}
"""


class Nova(Server):
    """What gives out Nova processes; it works in none of the cells itself."""

    def __init__(self, directory: Path, programs: Programs) -> None:
        super().__init__(directory)
        self.programs = programs
        self.port = free_port()
        self.config_file = directory / "nova.conf"

    def configure(self, broker: str, api_database: str, database: str) -> None:
        """Write the configuration of Nova's programs."""
        text = CONFIGURATION.format(
            broker=broker,
            directory=self.directory,
            api_database=api_database,
            database=database,
        )
        self.config_file.write_text(text)

    def manage(self, *arguments: str, code: int = 0) -> str:
        """Run nova-manage."""
        return self.programs.run(
            *("nova-manage", "--config-file", str(self.config_file)),
            *arguments,
            code=code,
        )

    @contextmanager
    def process(self, cell: str | None = None) -> Iterator["NovaProcess"]:
        """Give a fresh Nova process, at work in a cell."""
        address = ("127.0.0.1", self.port)
        with (
            socket.create_connection(address, ANSWER_SECONDS) as connection,
            connection.makefile("rw") as stream,
        ):
            process = NovaProcess(self, stream)
            if cell is not None:
                process.ask("enter", cell=cell)
            yield process

    def said_last(self) -> str:
        """Give the end of what it has logged."""
        return self.log.read_text()[-4000:]

    def _command(self) -> list[str]:
        return [
            self.programs.path("python"),
            str(PROGRAM),
            str(self.port),
            "--config-file",
            str(self.config_file),
        ]

    def _variables(self) -> dict[str, str]:
        return super()._variables() | variables()

    def _answers(self) -> bool:
        try:
            socket.create_connection(
                ("127.0.0.1", self.port), within(2)
            ).close()
        except OSError:
            return False
        return True


class NovaProcess:
    """A Nova process, which remembers what it has looked up."""

    def __init__(self, nova: Nova, stream: Any) -> None:
        self._nova = nova
        self._stream = stream

    def ask(self, what: str, **arguments: object) -> Any:
        """Let it do something; what it answers."""
        self._stream.write(json.dumps([what, arguments]) + "\n")
        self._stream.flush()
        line = self._stream.readline()
        if not line:
            raise AssertionError(
                f"Nova failed to {what}", self._nova.said_last()
            )
        return json.loads(line)

    def look_up(self, images: Iterable[str], kind: str = "ami") -> list[str]:
        """Give the EC2 ids of images, as Nova looks them up."""
        asked = [(image, kind) for image in images]
        return list(self.ask("look_up", images=asked))

    def boot(self, image: str, **others: str) -> dict[str, str]:
        """Create an instance; its id and EC2 ids."""
        return dict(self.ask("boot", image=image, **others))

    def serve(self, instance: str, *paths: str) -> list[str]:
        """Give what the metadata service tells an instance."""
        return list(self.ask("serve", instance=instance, paths=paths))

    def answer(self, instance: str, path: str) -> tuple[int, str]:
        """Give what the metadata service answers, with its status."""
        status, text = self.ask("answer", instance=instance, path=path)
        return int(status), str(text)
