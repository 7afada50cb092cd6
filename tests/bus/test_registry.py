"""The registry: the queues of a bus, and those that nothing refers to any more."""

import gc

from support.consuming import ticks

from edr.bus.registry import SLICE


async def test_many_abandoned_subscriptions_are_all_released(bus):
    held = [bus.subscribe() for _ in range(3 * SLICE)]
    assert bus.statistics().subscriptions == 3 * SLICE
    held.clear()
    gc.collect()
    await ticks(10)

    assert len(bus._registry) == 0


async def test_a_subscription_abandoned_later_is_released_too(bus):
    for _ in range(2):
        bus.subscribe()  # without a reference
        gc.collect()
        await ticks(10)

        assert bus.statistics().subscriptions == 0
