"""The consumers of one queue."""

import asyncio
import gc

from edr.bus.getters import Getters


async def sleeping():
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    return task


async def end(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_one_task_is_the_only_consumer():
    getters, task = Getters(), asyncio.current_task()
    getters.note(task)

    assert getters.task is task
    assert getters.is_only(task)
    assert not getters.is_only(None)


async def test_a_task_is_not_the_only_one_while_another_runs():
    getters, task, other = Getters(), asyncio.current_task(), await sleeping()
    getters.note(other)
    getters.note(task)
    was_only = getters.is_only(task)
    await end(other)

    assert not was_only
    assert not getters.is_only(other)
    assert getters.is_only(task)


async def test_no_task_is_the_only_consumer_of_none():
    assert not Getters().is_only(asyncio.current_task())
    assert Getters().task is None


async def test_tasks_are_not_kept_alive():
    getters, task = Getters(), await sleeping()
    getters.note(task)
    await end(task)
    del task
    gc.collect()

    assert getters.task is None


async def test_the_first_that_waits_is_woken_first():
    getters = Getters()
    first, second = getters.wait(), getters.wait()
    getters.wake_one()

    assert first.done()
    assert not second.done()


async def test_a_cancelled_wait_is_skipped():
    getters = Getters()
    first, second = getters.wait(), getters.wait()
    first.cancel()
    getters.wake_one()

    assert second.done()


async def test_removed_waiter_is_not_woken():
    getters = Getters()
    waiter = getters.wait()

    assert getters.remove(waiter)
    getters.wake_all()
    assert not waiter.done()
    assert not getters.remove(waiter)


async def test_wake_all_wakes_all():
    getters = Getters()
    waiters = [getters.wait() for _ in range(3)]
    getters.wake_all()

    assert all(waiter.done() for waiter in waiters)
    assert not getters.waiting
