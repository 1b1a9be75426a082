"""The server of the API: whoever is slow holds nobody up.

It is waitress: one loop reads requests and writes answers, however slowly
clients send and take them, and hands whole requests to a pool of threads.
"""

import logging
import resource
from typing import Any

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel

from ec2map_sync.api.app import Application
from ec2map_sync.api.operations import LARGEST_QUESTION
from ec2map_sync.monitor.exporter import CannotListen
from ec2map_sync.settings.addresses import Listen
from ec2map_sync.settings.values import Api

LOG = logging.getLogger(__name__)

SILENT = 30
"""Seconds after which a client that says nothing is disconnected."""
LOOK = 0.5
"""Seconds until it is looked whether to stop, if nobody comes."""
OTHER_FILES = 200
"""Open files beside the clients' connections."""


class HttpServer:
    """Holds the address, and answers who comes."""

    def __init__(
        self, listen: Listen, application: Application, options: Api
    ) -> None:
        self._listen = listen
        self._application = application
        self._options = options
        self._sockets: dict[int, Any] = {}
        self._server: Any = None

    def step(self) -> bool:
        """Attends to whoever has something to say, or waits a little."""
        if self._server is None:
            self._server = self._make()
            LOG.info("look-ups at http://%s/v1/", self._listen)
        wasyncore.loop(timeout=LOOK, use_poll=True, map=self._sockets, count=1)
        return True

    def close(self) -> None:
        """Gives the address back; who is being answered gets the answer."""
        server, self._server = self._server, None
        if server is not None:
            server.task_dispatcher.shutdown()
            for channel in list(self._sockets.values()):
                if isinstance(channel, HTTPChannel):
                    # Also the files of what nobody has taken.
                    channel.handle_close()
            server.close()
            wasyncore.close_all(self._sockets)

    def _make(self) -> Any:
        most = _open_files(self._options.connections)
        try:
            return create_server(
                self._application,
                map=self._sockets,
                host=self._listen.host,
                port=self._listen.port,
                threads=self._options.threads,
                connection_limit=most,
                backlog=1024,
                channel_timeout=SILENT,
                cleanup_interval=5,
                max_request_header_size=16 * 1024,
                max_request_body_size=2 * LARGEST_QUESTION,
                asyncore_use_poll=True,
                clear_untrusted_proxy_headers=True,
                ident="ec2map-sync",
            )
        except OSError as error:
            raise CannotListen(
                f"[api] listen = {self._listen}: {error.strerror or error}"
            ) from error


def _open_files(connections: int) -> int:
    """Lets the process have a file for each; returns how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return max(1, min(connections, soft - OTHER_FILES))
