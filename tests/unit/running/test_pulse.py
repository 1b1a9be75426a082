"""Who lives and hangs is told by its silence."""

from ec2map_sync.running.pulse import Pulse


class Clock:
    """One that is set by hand; seconds."""

    now = 100.0

    def __call__(self):
        return self.now


def test_who_says_nothing_for_so_long_is_silent():
    clock = Clock()
    pulse = Pulse(["listener-0", "writer-0"], clock)
    clock.now += 30
    assert pulse.silent(30) == []

    pulse.beat("writer-0")
    clock.now += 1

    assert pulse.silent(30) == ["listener-0"]
    pulse.beat("listener-0")
    assert pulse.silent(30) == []


def test_nobody_misses_whom_nobody_expects():
    clock = Clock()
    pulse = Pulse([], clock)

    pulse.beat("writer-0")
    clock.now += 1000

    assert pulse.silent(30) == []
