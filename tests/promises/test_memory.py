"""What a subscription costs, in all that Python allocates for it: queue, routes, name, handle."""

import asyncio
import gc
import tracemalloc
from contextlib import contextmanager, suppress

import pytest

import edr

COUNT = 3_000
"""Enough for what is there once, such as an empty dict, to count for nothing."""


@contextmanager
def allocated():
    """Yield a list, to which the bytes are added that were allocated meanwhile, and are still."""
    gc.collect()
    tracemalloc.start()
    grown = []
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield grown
        gc.collect()
        grown.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("of_its_own", ["app_name", "account_id"])
def test_an_idle_subscription_costs_less_than_a_kibibyte(of_its_own):
    bus = edr.Bus(node="test")
    with allocated() as grown:
        held = [bus.subscribe(edr.Binding(**{of_its_own: f"name-{n}"})) for n in range(COUNT)]

    assert grown[0] / len(held) < 1024


@pytest.mark.slow
async def test_a_subscription_that_was_used_and_is_empty_costs_little_more(bus, emit):
    held = [bus.subscribe() for _ in range(1_000)]
    await emit(0)  # what the bus remembers of the key is no subscription's
    for subscription in held:
        await anext(subscription)
    with allocated() as grown:
        for n in range(2):
            assert await emit(n) == len(held)
        for subscription in held:
            for _ in range(2):
                await anext(subscription)
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(subscription)

    assert grown[0] / len(held) < 1280 - 1024


@pytest.mark.slow
async def test_subscription_read_with_take_gives_back_its_memory(bus, emit):
    held = [bus.subscribe() for _ in range(1_000)]
    await emit(0)
    for subscription in held:
        subscription.take()
    with allocated() as grown:
        for n in range(2):
            assert await emit(n) == len(held)
        for subscription in held:
            assert len(subscription.take()) == 2

    assert grown[0] / len(held) < 1280 - 1024
