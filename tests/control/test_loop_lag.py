import asyncio

import pytest
from support.shuffled_loop import run

from edr.control.loop_lag import INTERVAL, LoopLag


def test_a_loop_in_time_has_no_lag():
    async def main():
        with LoopLag() as lag:
            await asyncio.sleep(10)
            return lag.take()

    assert run(main) == pytest.approx(0)


def test_a_blocked_loop_has_the_time_of_the_block_once():
    async def main():
        loop = asyncio.get_running_loop()
        with LoopLag() as lag:
            loop.call_later(INTERVAL * 1.5, lambda: setattr(loop, "now", loop.now + 3))
            await asyncio.sleep(10)
            return lag.take(), lag.take()

    blocked, after = run(main)
    assert blocked == pytest.approx(3 - INTERVAL / 2)
    assert after < INTERVAL


def test_a_block_that_still_lasts_counts():
    async def main():
        loop = asyncio.get_running_loop()
        with LoopLag() as lag:
            loop.now += 5
            return lag.take()

    assert run(main) == pytest.approx(5 - INTERVAL)


def test_nothing_is_measured_after_the_block():
    async def main():
        with LoopLag():
            pass
        await asyncio.get_running_loop().create_future()

    with pytest.raises(AssertionError, match="wait for each other or for nothing"):
        run(main)
