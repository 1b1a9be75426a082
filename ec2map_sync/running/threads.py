"""The loops of one process, each in a thread of its own."""

import threading
from collections.abc import Callable, Iterable

from ec2map_sync.running.loop import Loop, Nudge

BEAT_INTERVAL = 1.0
"""Seconds between two looks whether every loop has its thread."""


class Threads:
    """Runs loops until it is stopped; others may be added meanwhile."""

    def __init__(
        self,
        loops: Iterable[Loop] = (),
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = {loop: self._thread(loop) for loop in loops}
        self._running = False

    def run(self, beat: Callable[[], None] = lambda: None) -> None:
        """Runs all loops until `stop`, and to their end.

        ``beat`` is called every second while none has ended by itself.
        """
        with self._lock:
            self._running = True
            for thread in self._threads.values():
                thread.start()
        while not self._stopping.wait(BEAT_INTERVAL):
            if self._all_run():
                beat()
        for loop, thread in self._threads.items():
            loop.stop()
            thread.join()
        self._close()

    def add(self, loop: Loop) -> None:
        """Runs one more loop."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._threads[loop] = self._thread(loop)
            if self._running:
                self._threads[loop].start()

    def end(self, loop: Loop) -> None:
        """Ends one loop after its present step, without waiting for it."""
        loop.stop()
        with self._lock:
            if not self._stopping.is_set():
                self._threads.pop(loop, None)

    def stop(self) -> None:
        """Ends every loop after its present step."""
        with self._lock:
            self._stopping.set()
        for loop in self._threads:
            loop.stop()

    def _all_run(self) -> bool:
        with self._lock:
            return all(t.is_alive() for t in self._threads.values())

    @staticmethod
    def _thread(loop: Loop) -> threading.Thread:
        return threading.Thread(target=loop.run, name=loop.name, daemon=True)


class Fan:
    """Passes a process's one wake-up on to its threads."""

    def __init__(self) -> None:
        self._nudges: dict[str, Nudge] = {}

    def nudge(self, name: str) -> Nudge:
        """Returns the one that is set for a name from now on."""
        self._nudges[name] = nudge = Nudge()
        return nudge

    def forget(self, name: str) -> None:
        """Sets it no longer."""
        self._nudges.pop(name, None)

    def step(self) -> None:
        """Wakes all."""
        for nudge in list(self._nudges.values()):
            nudge.set()
