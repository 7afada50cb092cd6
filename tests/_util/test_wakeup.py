"""Ending the wait for a future."""

import asyncio

from edr._util.wakeup import wake


async def test_wake_ends_a_wait_once():
    waiter = asyncio.get_running_loop().create_future()

    assert wake(waiter)
    assert not wake(waiter)
    assert await waiter is None


def test_wake_skips_a_future_of_a_closed_loop():
    loop = asyncio.new_event_loop()
    waiter = loop.create_future()
    loop.close()

    assert not wake(waiter)
    assert not waiter.done()
