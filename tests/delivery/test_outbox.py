"""The outbox in memory, by itself."""

import asyncio

from support.consuming import ticks
from support.shuffled_loop import run

import edr
from edr.delivery import MemoryOutbox


def with_outbox(check, **options):
    """Run ``check(bus, outbox)`` and check the invariant of the counts afterwards."""

    async def main():
        async with edr.Bus() as bus:
            outbox = MemoryOutbox(bus.subscribe(**{"overflow": "drop_oldest"} | options))
            await check(bus, outbox)
            assert is_balanced(outbox)
            await outbox.aclose()
            assert is_balanced(outbox)
            assert outbox.statistics().pending == outbox.in_flight

    run(main)


def is_balanced(outbox):
    counts = outbox.statistics()
    assert counts.pending == outbox.pending
    settled = counts.sent + counts.uncertain + sum(counts.dropped.values())
    return counts.offered == settled + counts.pending


async def emit(bus, *numbers):
    for n in numbers:
        await bus.emit("app", "1", "ok", "info", {"n": n})


async def take(outbox):
    event = await outbox.peek()
    return event.body["n"], outbox.take()


def test_peek_returns_the_same_event_until_it_is_taken():
    async def check(bus, outbox):
        await emit(bus, 1, 2)
        assert await outbox.peek() is await outbox.peek()
        assert (await take(outbox))[0] == 1
        assert (await take(outbox))[0] == 2
        assert (outbox.in_flight, outbox.pending) == (2, 2)

    with_outbox(check)


def test_cancelling_peek_loses_no_event():
    async def check(bus, outbox):
        waiting = asyncio.create_task(outbox.peek())
        await ticks()
        await emit(bus, 1)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert (await take(outbox))[0] == 1

    with_outbox(check)


def test_confirmed_events_are_sent():
    async def check(bus, outbox):
        await emit(bus, 1, 2, 3)
        _, tag = await take(outbox)
        await take(outbox)
        await take(outbox)
        outbox.confirm(tag)
        assert outbox.statistics().sent == 1
        outbox.confirm_oldest(2)
        assert (outbox.statistics().sent, outbox.pending) == (3, 0)

    with_outbox(check)


def test_events_in_flight_at_a_loss_are_uncertain_and_others_stay():
    async def check(bus, outbox):
        await emit(bus, 1, 2, 3)
        await take(outbox)
        await outbox.peek()
        outbox.on_connection_lost()
        counts = outbox.statistics()
        assert (counts.uncertain, counts.pending) == (1, 2)
        assert (await take(outbox))[0] == 2

    with_outbox(check)


def test_dropped_events_are_counted_by_reason():
    async def check(bus, outbox):
        await emit(bus, *range(6))
        await outbox.peek()
        outbox.drop("invalid")
        _, tag = await take(outbox)
        outbox.give_up(tag, "refused")
        await take(outbox)
        outbox.settle_oldest(1, 1, "refused")
        assert outbox.statistics().dropped == {"overflow": 2, "invalid": 1, "refused": 2}

    with_outbox(check, capacity=4)


def test_drain_waits_until_each_event_is_settled():
    async def check(bus, outbox):
        await emit(bus, 1, 2)
        draining = asyncio.create_task(outbox.drain())
        await ticks()
        await emit(bus, 3)
        await take(outbox)
        outbox.confirm_oldest(1)
        await outbox.peek()
        await ticks()
        assert not draining.done()
        outbox.drop("invalid")
        await ticks()
        assert draining.done()
        assert await outbox.peek() is None
        assert outbox.statistics().offered == 2

    with_outbox(check)


def test_drain_of_an_empty_outbox_returns_at_once():
    async def check(_bus, outbox):
        await asyncio.wait_for(outbox.drain(), 0.1)
        assert await outbox.remaining() == 0

    with_outbox(check)


def test_a_lost_connection_ends_a_drain_of_events_in_flight():
    async def check(bus, outbox):
        await emit(bus, 1)
        await take(outbox)
        draining = asyncio.create_task(outbox.drain())
        await ticks()
        assert not draining.done()
        outbox.on_connection_lost()
        await ticks()
        assert draining.done()

    with_outbox(check)


def test_a_cancelled_drain_can_be_repeated():
    async def check(bus, outbox):
        await emit(bus, 1)
        draining = asyncio.create_task(outbox.drain())
        await ticks()
        draining.cancel()
        await asyncio.wait({draining})
        await take(outbox)
        outbox.confirm_oldest(1)
        await asyncio.wait_for(outbox.drain(), 0.1)

    with_outbox(check)


def test_aclose_drops_the_head_and_the_queued_events():
    async def check(bus, outbox):
        await emit(bus, 1, 2, 3)
        await outbox.peek()
        assert await outbox.remaining() == 3
        await outbox.aclose()
        assert outbox.statistics().dropped == {"closed": 3}

    with_outbox(check)
