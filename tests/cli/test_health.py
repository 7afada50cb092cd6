import asyncio

import pytest

import edr
from edr.cli.health import emits_waiting
from edr.control.snapshot import described


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_emit_does_not_wait_for_a_queue_that_drops(bus, overflow):
    async with bus.subscribe(name="full", capacity=1, overflow=overflow):
        for _ in range(3):
            await bus.emit("a", "1", "ok", "info", {})
        assert emits_waiting(described(*bus.subscriptions())) == 0


async def test_emits_that_wait_for_a_full_queue_are_counted(bus):
    async with bus.subscribe(name="full", capacity=1) as events:
        emits = [asyncio.create_task(bus.emit("a", "1", "ok", "info", {"n": n})) for n in range(3)]
        await asyncio.sleep(0)
        assert emits_waiting(described(*bus.subscriptions())) == 2
        for _ in range(3):
            await anext(events)
        await asyncio.gather(*emits)
        assert emits_waiting(described(*bus.subscriptions())) == 0


async def test_requeued_event_is_not_a_waiting_emit(bus):
    async with bus.subscribe(name="full", capacity=1, overflow=edr.Overflow.DROP_OLDEST) as events:
        await bus.emit("a", "1", "ok", "info", {"n": 1})
        event = await anext(events)
        await bus.emit("a", "1", "ok", "info", {"n": 2})
        with pytest.raises(ValueError, match="again"), events.requeue_on_error(event):
            raise ValueError("again")
        assert emits_waiting(described(*bus.subscriptions())) == 0
