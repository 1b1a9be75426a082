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
