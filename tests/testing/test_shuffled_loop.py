import asyncio
import time

import pytest

from edr.testing import LoopDeadlockError, run


async def order_of_five():
    order = []

    async def worker(n):
        await asyncio.sleep(0)
        order.append(n)

    await asyncio.gather(*map(worker, range(5)))
    return tuple(order)


def test_without_a_seed_the_order_is_the_usual_one():
    assert run(order_of_five) == (0, 1, 2, 3, 4)


def test_a_seed_draws_an_order_and_draws_it_again():
    orders = [run(order_of_five, seed) for seed in range(50)]

    assert orders == [run(order_of_five, seed) for seed in range(50)]
    assert len(set(orders)) > 20


def test_an_hour_takes_no_time():
    async def wait():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    before = time.monotonic()
    assert run(wait, 1) == pytest.approx(3600)
    assert time.monotonic() - before < 10


def test_what_waits_for_ever_is_named_at_once():
    async def hang():
        await asyncio.Event().wait()

    with pytest.raises(LoopDeadlockError, match="hang"):
        run(hang)


def test_time_stands_still_while_a_thread_works():
    async def thread_and_timer():
        timer = asyncio.create_task(asyncio.sleep(1000, "timer"))
        return await asyncio.to_thread(lambda: "thread"), await timer

    assert run(thread_and_timer, 3) == ("thread", "timer")
