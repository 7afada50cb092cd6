"""Tasks that run together, and cancellations."""

import asyncio

import pytest
from support.shuffled_loop import run

from edr._util.tasks import first_of, is_cancelled, raise_if_cancelled


def test_first_of_cancels_the_others():
    ended = []

    async def forever():
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append(asyncio.get_running_loop().time())

    run(lambda: first_of(forever(), asyncio.sleep(1)))
    assert ended == [1.0]


def test_first_of_raises_what_the_first_one_raised():
    async def fail():
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        run(lambda: first_of(fail(), asyncio.sleep(1e6)))


def test_a_swallowed_cancellation_is_raised():
    after = []

    async def swallow():
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            after.append(is_cancelled())
        raise_if_cancelled()
        after.append("reached")

    async def main():
        task = asyncio.create_task(swallow())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert run(main)
    assert after == [True]


def test_nothing_is_raised_in_a_task_that_was_not_cancelled():
    async def main():
        raise_if_cancelled()
        return is_cancelled()

    assert run(main) is False
