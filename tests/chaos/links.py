"""Links that are cut, slowed, or dead in one direction, while in use."""

import socket
import threading
import time
from contextlib import suppress

from proxy import Proxy, Way, as_it_comes


class Link(Proxy):
    """A way from a host to a server, and what befalls it.

    What is held back in a dead direction comes when it heals, as TCP has it.
    """

    def __init__(self, leads_to: int) -> None:
        super().__init__(leads_to, as_it_comes)
        self.hit = 0
        """Pieces of a stream that came later than they would have."""
        self.delay = 0.0
        """Seconds by which each piece of a stream comes later."""
        self._flows = {way: threading.Event() for way in Way}
        for flow in self._flows.values():
            flow.set()
        self._is_cut = False

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open) // 2

    def sever(self) -> int:
        """Cut all connections, and let none be made; how many there were."""
        self._is_cut = True
        found = self.connections
        for one in list(self._open):
            _close(one)
        return found

    def hold(self, way: Way) -> None:
        """Let nothing through in one direction."""
        self.hit = 0
        self._flows[way].clear()

    def slow(self, seconds: float) -> None:
        """Let all come later."""
        self.hit = 0
        self.delay = seconds

    def heal(self) -> None:
        """Let all work again."""
        super().heal()
        self._is_cut = False
        self.delay = 0.0
        for flow in self._flows.values():
            flow.set()

    def _pump(
        self, source: socket.socket, sink: socket.socket, way: Way
    ) -> None:
        if self._is_cut:
            self._end(source, sink)
            return
        try:
            for piece in self._split(source):
                self._pass_time(way)
                sink.sendall(piece)
        except OSError:
            pass  # one of the two has gone
        finally:
            self._end(source, sink)

    def _pass_time(self, way: Way) -> None:
        if self.delay:
            self.hit += 1
            time.sleep(self.delay)
        if not self._flows[way].is_set():
            self.hit += 1
            self._flows[way].wait()


def _close(one: socket.socket) -> None:
    with suppress(OSError):  # it has ended by itself
        one.shutdown(socket.SHUT_RDWR)
