import pytest

from edr.control.cpu_share import CpuShare


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def share():
    share = CpuShare(Clock(), Clock(), share=0.05, burst=0.05)
    share.work = lambda seconds: work(share, seconds)
    return share


def work(share, seconds):
    share.start()
    share._spent.now += seconds
    share._now.now += seconds
    share.stop()


def test_a_burst_needs_no_pause(share):
    share.work(0.05)

    assert share.pause() == 0


def test_more_work_is_paused_until_it_is_the_share(share):
    share.work(0.1)
    pause = share.pause()

    assert pause == pytest.approx((0.1 - 0.05) / 0.05 - 0.1)
    share._now.now += pause
    assert share.pause() == pytest.approx(0)


def test_over_a_long_time_the_work_is_the_share(share):
    worked = 0.0
    while share._now.now < 100:
        share.work(0.002)
        worked += 0.002
        share._now.now += share.pause()

    assert worked == pytest.approx(0.05 * 100, rel=0.03)


def test_time_without_work_saves_one_burst_only(share):
    share._now.now += 3600
    share.pause()
    share.work(0.06)

    assert share.pause() > 0
