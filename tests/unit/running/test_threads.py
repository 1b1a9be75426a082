"""Loops in threads: added, ended and woken while the others run."""

import threading

from patience import within

from ec2map_sync.running.loop import Loop, Nudge
from ec2map_sync.running.threads import Fan, Threads

SECONDS = within(10)


class Counted:
    """A loop that counts its steps."""

    def __init__(self, nudge=None):
        self.steps = 0
        self.stepped = threading.Event()
        self.ended = threading.Event()
        self.loop = Loop(
            "test",
            self.step,
            wake=nudge or Nudge(),
            interval=3600,
            describe=lambda _: None,
            release=self.ended.set,
        )

    def step(self):
        self.steps += 1
        self.stepped.set()
        return False


def running(threads):
    thread = threading.Thread(target=threads.run, daemon=True)
    thread.start()
    return thread


def test_a_loop_that_is_added_later_runs_and_can_end_alone():
    first, second = Counted(), Counted()
    threads = Threads([first.loop])
    thread = running(threads)
    assert first.stepped.wait(SECONDS)

    threads.add(second.loop)
    assert second.stepped.wait(SECONDS)
    threads.end(second.loop)

    assert second.ended.wait(SECONDS)
    assert not first.ended.is_set()
    threads.stop()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert first.ended.is_set()


def test_a_loop_that_is_added_too_late_never_runs():
    closed = threading.Event()
    late = Counted()
    threads = Threads(close=closed.set)
    threads.stop()
    threads.add(late.loop)

    threads.run()

    assert closed.is_set()
    assert late.steps == 0


def test_a_fan_wakes_every_thread_but_those_forgotten():
    fan = Fan()
    loops = {name: Counted(fan.nudge(name)) for name in ("a", "b")}
    threads = Threads(counted.loop for counted in loops.values())
    thread = running(threads)
    for counted in loops.values():
        assert counted.stepped.wait(SECONDS)
        counted.stepped.clear()
    fan.forget("b")

    fan.step()

    assert loops["a"].stepped.wait(SECONDS)
    threads.stop()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert loops["b"].steps == 1


class Looked(Threads):
    """Counts how often it has looked whether every loop has its thread."""

    def __init__(self, loops):
        super().__init__(loops)
        self.looks = threading.Semaphore(0)

    def _all_run(self):
        try:
            return super()._all_run()
        finally:
            self.looks.release()


class Ended(Loop):
    """A loop that has ended by itself."""

    def run(self):
        pass


def test_a_beat_tells_that_no_loop_has_ended_by_itself(monkeypatch):
    monkeypatch.setattr("ec2map_sync.running.threads.BEAT_INTERVAL", 0.01)
    heard = threading.Event()
    threads = Looked([Counted().loop])
    thread = threading.Thread(
        target=threads.run, args=[heard.set], daemon=True
    )
    thread.start()
    assert heard.wait(SECONDS)

    ended = Ended("ended", list, interval=1, describe=lambda _: None)
    threads.add(ended)
    threads._threads[ended].join(SECONDS)
    # The look that was under way, and one that sees it.
    for _ in range(2):
        while threads.looks.acquire(blocking=False):
            pass
        assert threads.looks.acquire(timeout=SECONDS)
    heard.clear()

    assert threads.looks.acquire(timeout=SECONDS)
    assert not heard.is_set()
    threads.stop()
    thread.join(SECONDS)
    assert not thread.is_alive()
