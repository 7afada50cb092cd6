"""The wait of an emit for the queues that were full."""

import asyncio

import pytest
from support.consuming import is_balanced, take_ready, ticks

from edr import DeadlockError


async def test_emit_waits_for_each_full_queue_and_counts_those_that_accepted(bus, emit):
    first, second = bus.subscribe(capacity=1), bus.subscribe(capacity=1)
    await emit(0)
    emitting = asyncio.create_task(emit(1))
    await ticks()
    first.take(1)
    await ticks()
    waited_for_the_second = not emitting.done()
    await second.aclose()

    assert waited_for_the_second
    assert await emitting == 1
    assert take_ready(first) == [1]


async def test_cancelled_emit_drops_its_event_in_every_queue(bus, emit):
    held = [bus.subscribe(capacity=1) for _ in range(2)]
    await emit(0)
    emitting = asyncio.create_task(emit(1))
    await ticks()
    emitting.cancel()
    await ticks()

    for subscription in held:
        assert subscription.statistics().dropped == {"cancelled": 1}
        assert is_balanced(subscription.statistics())


async def test_only_consumer_that_emits_into_its_full_queue_gets_an_error(bus, emit):
    subscription = bus.subscribe(capacity=1, name="own")
    await emit(0)
    await anext(subscription)
    await emit(1)
    with pytest.raises(DeadlockError, match="own"):
        await emit(2)

    assert subscription.statistics().dropped == {"would_block": 1}
