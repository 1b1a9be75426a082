"""The loop: goes on whatever happens, and says so once."""

import logging
import threading

import pytest
from patience import within

from ec2map_sync.running.loop import Loop, Nudge, Wake

FOR_EVER = 1_000_000
"""Seconds after which no test is still there."""


def run(step, describe=str, **kwargs):
    wake = Wake()
    loop = Loop(
        "test", step, wake=wake, interval=FOR_EVER, describe=describe, **kwargs
    )
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    return loop, thread, wake


def finish(loop, thread):
    loop.stop()
    thread.join(within(10))
    assert not thread.is_alive()


@pytest.fixture(params=[Wake, Nudge])
def wake(request):
    return request.param()


def ends(function, *arguments):
    """Whether a call ends by itself; it is left behind if it does not."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    thread.join(within(10))
    return not thread.is_alive()


def test_a_wake_up_before_the_wait_is_not_lost(wake):
    wake.set()

    assert ends(wake.wait, FOR_EVER)


def test_more_wake_ups_than_a_pipe_holds_block_nobody(wake):
    def set_often():
        for _ in range(100_000):
            wake.set()

    assert ends(set_often)
    assert ends(wake.wait, FOR_EVER)


def test_a_nudge_tells_whether_it_came():
    nudge = Nudge()
    assert not nudge.woken

    nudge.set()
    nudge.wait(FOR_EVER)
    assert nudge.woken

    nudge.wait(0)
    assert not nudge.woken


def test_a_woken_loop_steps_again():
    stepped = threading.Semaphore(0)

    def step():
        stepped.release()
        return False

    loop, thread, wake = run(step)
    assert stepped.acquire(timeout=within(10))
    wake.set()
    assert stepped.acquire(timeout=within(10))
    finish(loop, thread)


def test_an_outage_is_said_once_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO)
    over = threading.Event()
    failures = iter([OSError("refused")] * 3)

    def step():
        error = next(failures, None)
        if error:
            raise error
        over.set()
        return False

    released = []
    reports = []
    loop, thread, _ = run(
        step, release=lambda: released.append(1), report=reports.append
    )
    assert over.wait(within(30))
    finish(loop, thread)

    said = [record.message for record in caplog.records]
    assert said == ["test waits and tries again: refused", "test goes on"]
    assert len(released) == 4
    assert reports[:4] == ["refused"] * 3 + [None]


def test_a_mistake_of_ours_is_logged_with_its_place(caplog):
    failed = threading.Event()

    def step():
        failed.set()
        raise KeyError("oops")

    loop, thread, _ = run(step, describe=lambda _error: None)
    assert failed.wait(within(10))
    finish(loop, thread)

    assert "KeyError" in caplog.text


def test_a_stop_during_a_pause_does_not_wait_for_its_end(monkeypatch):
    monkeypatch.setattr("ec2map_sync.running.loop.FIRST_PAUSE", FOR_EVER)
    failed = threading.Event()

    def step():
        failed.set()
        raise OSError("refused")

    loop, thread, _ = run(step)
    assert failed.wait(within(10))

    finish(loop, thread)
