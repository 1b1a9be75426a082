"""When the first and the last of some messages were done."""

import threading
import time


class Clock:
    """Notes when the first and the last of some messages were done."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = self._first = 0
        self._begun = self._cpu = 0.0
        self.done = threading.Event()
        self.result: dict[str, float] = {}

    def saw(self, count: int = 1) -> None:
        """Note that so many more are done; the first ones start the clock."""
        now, cpu = time.monotonic(), time.process_time()
        if not self._seen:
            self._begun, self._cpu, self._first = now, cpu, count
        self._seen += count
        if self._seen >= self._count and not self.done.is_set():
            timed = max(self._seen - self._first, 1)
            self.result = {
                "rate": timed / max(now - self._begun, 1e-9),
                "cpu": (cpu - self._cpu) / timed * 1e6,
            }
            self.done.set()
