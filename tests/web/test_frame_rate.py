import pytest

from edr.web.frame_rate import FrameRate


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_burst_is_allowed_at_once(clock):
    rate = FrameRate(10, 3, clock=clock)

    assert [rate.allows() for _ in range(5)] == [True, True, True, False, False]


def test_frames_are_allowed_again_after_a_while(clock):
    rate = FrameRate(10, 3, clock=clock)
    while rate.allows():
        pass
    clock.now += 0.15

    assert [rate.allows(), rate.allows()] == [True, False]


def test_a_long_silence_gives_no_more_than_the_burst(clock):
    rate = FrameRate(10, 3, clock=clock)
    clock.now += 3600

    assert [rate.allows() for _ in range(4)] == [True, True, True, False]
