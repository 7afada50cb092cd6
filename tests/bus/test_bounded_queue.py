"""The bounded queue: wake-ups, credit, yields and what waits for it to be emptied."""

import asyncio
import contextlib
import math

import pytest
from support.consuming import is_balanced, take_ready, ticks
from support.shuffled_loop import run

from edr import Bus
from edr.bus.bounded_queue import MAX_YIELDS


async def has_yielded(emitting):
    """Await ``emitting`` and tell whether it let the loop run other callbacks first."""
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    await emitting
    return bool(ran)


async def test_an_event_put_back_wakes_a_waiting_consumer(bus, emit):
    subscription, fails = bus.subscribe(), asyncio.Event()
    await emit(1)

    async def fail():
        with subscription.requeue_on_error(await anext(subscription)):
            await fails.wait()
            raise ValueError("this consumer failed")

    failing = asyncio.create_task(fail())
    await ticks()
    waiting = asyncio.create_task(anext(subscription))
    await ticks()
    fails.set()
    await ticks()

    assert isinstance(failing.exception(), ValueError)
    assert waiting.done(), "the event is queued and its consumer sleeps"
    assert (await waiting).body["n"] == 1


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_a_take_makes_a_full_queue_yield_again(bus, emit, overflow):
    subscription = bus.subscribe(capacity=1, overflow=overflow)
    await emit(0)
    for n in range(MAX_YIELDS + 1):
        await emit(n)
    yielded_to_a_dead_consumer = await has_yielded(emit(1))
    subscription.take(1)
    await emit(2)
    yielded_to_a_live_one = await has_yielded(emit(3))

    assert not yielded_to_a_dead_consumer
    assert yielded_to_a_live_one


async def test_settled_returns_when_the_usual_consumer_takes_all():
    async with Bus(stall_timeout=math.inf) as bus:
        subscription = bus.subscribe()
        for n in range(3):
            await bus.emit("app", "1", "ok", "info", {"n": n})
        await anext(subscription)  # from now on this task takes the short way
        settling = asyncio.create_task(bus.join())
        await ticks(20)
        waited = not settling.done()
        await anext(subscription)
        await anext(subscription)
        await ticks(20)

        assert waited
        assert settling.done()
        await settling


async def test_settled_returns_when_a_full_queue_is_dropped():
    async with Bus(stall_timeout=math.inf) as bus:
        subscription = bus.subscribe(capacity=1)
        emits = [asyncio.create_task(bus.emit("app", "1", "ok", "info", {})) for _ in range(3)]
        await ticks()
        settling = asyncio.create_task(bus.join())
        await ticks(20)
        await subscription.aclose()
        await ticks(20)

        assert settling.done()
        await settling
        assert [await each for each in emits] == [1, 0, 0]


def test_a_take_restarts_the_stall_clock():
    async def main():
        async with Bus(stall_timeout=5.0) as bus:
            subscription = bus.subscribe(capacity=1)
            emits = [asyncio.create_task(bus.emit("app", "1", "ok", "info", {})) for _ in range(4)]
            for _ in range(3):  # 12 seconds in all, with a take each 4 seconds
                await asyncio.sleep(4.0)
                assert not subscription.statistics().stalled
                subscription.take(1)
            admitted = await asyncio.gather(*emits)
            subscription.take(1)
            return admitted, subscription.statistics()

    admitted, statistics = run(main)

    assert admitted == [1, 1, 1, 1]
    assert statistics.delivered == 4
    assert not statistics.dropped


async def test_a_batch_larger_than_the_queue_keeps_its_bound(bus):
    subscription = bus.subscribe(capacity=3, overflow="drop_newest")
    taking = asyncio.create_task(anext(subscription.batches(10, max_wait=60)))
    await ticks()
    for n in range(6):
        bus.emit_nowait("app", "1", "ok", "info", {"n": n})
        if n == 0:
            await ticks()  # the consumer has seen an event and waits for the rest of its batch

    assert subscription.statistics().pending == 3
    assert subscription.statistics().dropped == {"overflow": 3}
    assert [event.body["n"] for event in await taking] == [0, 1, 2]


async def test_an_event_put_back_after_aclose_is_dropped(bus, emit):
    subscription = bus.subscribe()
    await emit(1)
    with (
        pytest.raises(ValueError, match="late"),
        subscription.requeue_on_error(await anext(subscription)),
    ):
        await subscription.aclose()
        raise ValueError("late")
    statistics = subscription.statistics()

    assert statistics.dropped == {"closed": 1}
    assert statistics.pending == 0
    assert is_balanced(statistics)
    assert take_ready(subscription) == []


async def test_an_event_put_back_after_close_can_be_taken(bus, emit):
    subscription = bus.subscribe()
    await emit(1)
    with contextlib.suppress(ValueError), subscription.requeue_on_error(await anext(subscription)):
        subscription.shutdown()
        raise ValueError

    assert take_ready(subscription) == [1]
    assert not subscription.statistics().dropped


async def test_a_small_batch_is_complete_beside_a_large_one(bus, emit):
    subscription = bus.subscribe()
    large = asyncio.create_task(anext(subscription.batches(10, max_wait=60)))
    await ticks()
    await emit(0)
    await ticks()  # the large batch waits for nine more
    small = asyncio.create_task(anext(subscription.batches(5, max_wait=60)))
    await ticks()
    for n in range(1, 5):
        await emit(n)
        await ticks()

    assert small.done() or large.done()
    large.cancel()
    small.cancel()
