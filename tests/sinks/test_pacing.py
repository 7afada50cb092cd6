"""The delays between attempts."""

from edr.sinks import RefusedError, Retry, RetryError
from edr.sinks.pacing import Pacing

AWAY = RetryError("away")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def pacing(retry=None, clock=None):
    return Pacing(retry or Retry(), clock=clock or Clock(), draw=lambda low, high: high)


def test_delays_double_up_to_the_cap():
    pace = pacing(Retry(base=1, factor=2, cap=10))

    assert [pace.delay_after(AWAY) for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_a_delay_is_drawn_between_zero_and_the_limit():
    drawn = []

    def draw(low, high):
        drawn.append((low, high))
        return 3.0

    pace = Pacing(Retry(base=4), clock=Clock(), draw=draw)

    assert pace.delay_after(OSError()) == 3.0
    assert drawn == [(0.0, 4)]


def test_delays_start_over_after_60_seconds_of_health():
    clock = Clock()
    pace = pacing(clock=clock)
    delays = [pace.delay_after(AWAY)]
    for healthy in (0, 59, 60):
        clock.now += 10
        pace.succeeded()
        clock.now += healthy
        pace.succeeded()
        delays.append(pace.delay_after(AWAY))

    assert delays == [1, 2, 4, 1]


def test_time_without_a_success_is_not_health():
    clock = Clock()
    pace = pacing(clock=clock)
    pace.delay_after(AWAY)
    clock.now = 1000.0

    assert pace.delay_after(AWAY) == 2


def test_the_sink_can_ask_for_a_longer_delay():
    pace = pacing(Retry(base=2))

    assert pace.delay_after(RetryError("429", after=30)) == 30
    assert pace.delay_after(RetryError("429", after=0)) == 4


def test_slow_faults_wait_a_minute_or_the_cap():
    assert pacing().delay_after(RetryError("401", slow=True)) == 60
    assert pacing(Retry(cap=300)).delay_after(RetryError("401", slow=True)) == 300
    assert pacing(Retry(cap=300)).delay_after(RefusedError("no")) == 60
