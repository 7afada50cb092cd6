"""Emits that wait for space, and the timer of a stall."""

import asyncio
from math import inf

import pytest
from support.consuming import ticks
from support.shuffled_loop import run

from edr.bus.putters import PendingPut, Putters


def puts(count):
    return [PendingPut(None, n) for n in range(count)]


async def test_first_added_is_first_popped():
    putters, (first, second) = Putters(), puts(2)
    putters.add(first)
    putters.add(second)

    assert putters.pop_first() is first
    assert list(putters.waiting) == [second]


async def test_removed_put_leaves_the_order_of_the_others():
    putters, (first, second, third) = Putters(), puts(3)
    for put in (first, second, third):
        putters.add(put)
    putters.remove(second)

    assert list(putters.pop_all()) == [first, third]
    assert not putters.waiting


async def test_resolve_wakes_the_emit():
    (put,) = puts(1)
    waiting = asyncio.create_task(put.resolved())
    await ticks()
    was_done = waiting.done()
    put.resolve(admitted=False)
    await waiting

    assert not was_done
    assert put.admitted is False


async def test_resolve_does_nothing_for_an_emit_that_was_cancelled():
    (put,) = puts(1)
    waiting = asyncio.create_task(put.resolved())
    await ticks()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    put.resolve(admitted=True)

    assert put.admitted is True


def stalls_after(takes, *, pops=False, timeout=5.0):
    """Return the times at which a stall was reported, with a take at each of ``takes``."""

    async def main():
        putters, stalls, loop = Putters(), [], asyncio.get_running_loop()
        putters.add(*puts(1))
        putters.start_timer(timeout, lambda: stalls.append(round(loop.time(), 3)))
        for at in takes:
            await asyncio.sleep(at - loop.time())
            putters.note_take()
        if pops:
            putters.pop_first()
        await asyncio.sleep(60)
        return stalls

    return run(main)


def test_stall_is_reported_once():
    assert stalls_after([]) == [5.0]


def test_take_restarts_the_time_to_a_stall():
    assert stalls_after([3.0, 7.0]) == [12.0]


def test_no_stall_is_reported_when_nothing_waits():
    assert stalls_after([3.0], pops=True) == []


def test_infinite_timeout_sets_no_timer():
    assert stalls_after([], timeout=inf) == []


def test_stopped_timer_reports_no_stall():
    async def main():
        putters, stalls = Putters(), []
        putters.add(*puts(1))
        putters.start_timer(5.0, lambda: stalls.append(1))
        putters.stop_timer()
        await asyncio.sleep(60)
        return stalls

    assert run(main) == []
