"""To take what a subscription holds, and to hold its counts against each other."""

import asyncio

import edr


async def ticks(count=5):
    """Let what is ready run, and what that makes ready."""
    for _ in range(count):
        await asyncio.sleep(0)


def take_ready(subscription):
    """Take what a subscription can give without waiting, as the n of each body."""
    return [item if isinstance(item, edr.Gap) else item.body["n"] for item in ready(subscription)]


def ready(subscription):
    while subscription.statistics().pending or subscription._queue.items:
        coroutine = subscription.__anext__()
        try:
            coroutine.send(None)
        except StopIteration as stop:
            yield stop.value
        else:
            coroutine.close()
            raise AssertionError("a pending event was not to be had at once")


def is_balanced(statistics):
    dropped = sum(statistics.dropped.values())
    return statistics.offered == statistics.delivered + dropped + statistics.pending


async def until(condition, within=20.0):
    """Wait for what another process brings about; it is asked each few milliseconds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.002)


async def take(subscription, count, within=20.0):
    """Take `count` events, as the n of each body."""
    async with asyncio.timeout(within):
        return [(await anext(subscription)).body["n"] for _ in range(count)]
