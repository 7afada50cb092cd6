"""A full queue, under each policy."""

import asyncio
import contextlib
import logging
import math

import pytest
from support.consuming import is_balanced, take_ready, ticks
from support.shuffled_loop import run

import edr
from edr import Bus, DeadlockError, Gap, Overflow, SubscriptionOverflowError


def emit_to(bus):
    async def emit(n):
        return await bus.emit("app", "1", "ok", "info", {"n": n})

    return emit


async def test_block_waits_for_room_after_every_other_has_its_event(bus, emit):
    full, other = bus.subscribe(capacity=1), bus.subscribe()
    await emit(1)
    waiting = asyncio.create_task(emit(2))
    await ticks()

    assert not waiting.done()
    assert take_ready(other) == [1, 2]
    assert full.statistics().pending == 2
    assert (await anext(full)).body["n"] == 1
    assert await waiting == 2
    assert take_ready(full) == [2]


async def test_emits_that_wait_get_in_in_their_order_and_nothing_overtakes(bus, emit):
    subscription = bus.subscribe(capacity=1)
    await emit(0)
    waiting = [asyncio.create_task(emit(n)) for n in (1, 2, 3)]
    await ticks()
    taken = [(await anext(subscription)).body["n"]]
    late = asyncio.create_task(emit(4))
    await ticks()
    taken += [(await anext(subscription)).body["n"] for _ in range(4)]
    await asyncio.gather(*waiting, late)

    assert taken == [0, 1, 2, 3, 4]


async def test_cancelling_a_waiting_emit_leaves_the_counts_true(bus, emit):
    subscription = bus.subscribe(capacity=1, gaps=True)
    await emit(0)
    waiting = [asyncio.create_task(emit(n)) for n in (1, 2, 3)]
    await ticks()
    waiting[1].cancel()
    await ticks()

    assert subscription.statistics().dropped == {"cancelled": 1}
    assert subscription.statistics().pending == 3
    # The gap comes before the events that still waited.
    assert take_ready(subscription) == [0, Gap(1), 1, 3]
    assert is_balanced(subscription.statistics())


async def test_an_emit_cancelled_in_the_tick_in_which_it_got_in_has_got_in(bus, emit):
    subscription = bus.subscribe(capacity=1)
    await emit(0)
    waiting = asyncio.create_task(emit(1))
    await ticks()
    await anext(subscription)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert take_ready(subscription) == [1]
    assert subscription.statistics().dropped == {}


def test_emitters_go_on_after_stall_after_and_the_subscriber_recovers(caplog):
    async def scenario():
        async with Bus(stall_timeout=5) as bus:
            emit, loop = emit_to(bus), asyncio.get_running_loop()
            stuck = bus.subscribe(capacity=1, name="stuck one", gaps=True)
            await emit(0)
            assert await emit(1) == 0
            assert loop.time() == pytest.approx(5, abs=0.01)
            assert await emit(2) == 0
            assert loop.time() == pytest.approx(5, abs=0.01), "a stalled one is not waited for"
            assert stuck.statistics().stalled
            assert bus.statistics().stalled == 1
            assert take_ready(stuck) == [0, Gap(2)]
            assert not stuck.statistics().stalled
            assert await emit(3) == 1
            assert take_ready(stuck) == [3]
            assert stuck.statistics().dropped == {"stalled": 2}

    with caplog.at_level(logging.WARNING, "edr"):
        run(scenario)
    assert "'stuck one' is stalled: it took nothing for 5 s" in caplog.text


async def test_stall_after_can_be_infinite():
    async with Bus(stall_timeout=math.inf) as bus:
        emit = emit_to(bus)
        subscription = bus.subscribe(capacity=1)
        await emit(0)
        waiting = asyncio.create_task(emit(1))
        await ticks()
        assert subscription._queue._putters._timer is None
        assert [(await anext(subscription)).body["n"] for _ in range(2)] == [0, 1]
        assert await waiting == 1


def test_a_slow_subscriber_that_takes_is_not_stalled():
    async def scenario():
        async with Bus(stall_timeout=5) as bus:
            emit, taken = emit_to(bus), []
            slow = bus.subscribe(capacity=1)

            async def consume():
                async for event in slow:
                    taken.append(event.body["n"])
                    await asyncio.sleep(4)

            consumer = asyncio.create_task(consume())
            for n in range(6):
                await emit(n)
            slow.shutdown()
            await consumer
            assert taken == list(range(6))
            assert slow.statistics().dropped == {}

    run(scenario)


def test_the_stall_clock_starts_with_the_wait_not_with_an_earlier_one():
    async def scenario():
        async with Bus(stall_timeout=5) as bus:
            emit = emit_to(bus)
            slow = bus.subscribe(capacity=1)
            await emit(0)
            given_up = asyncio.create_task(emit(1))
            await asyncio.sleep(3)
            given_up.cancel()
            await asyncio.sleep(1)
            await anext(slow)
            await emit(2)
            waiting = asyncio.create_task(emit(3))
            await asyncio.sleep(4.5)
            assert not waiting.done(), "3 + 1 + 4.5 s since the first wait, but 4.5 since this one"
            assert (await anext(slow)).body["n"] == 2
            assert await waiting == 1
            assert take_ready(slow) == [3]

    run(scenario)


def test_two_subscribers_that_emit_into_each_others_full_queues_go_on():
    async def scenario():
        async with Bus(stall_timeout=5) as bus:
            emit = emit_to(bus)
            subscriptions = [bus.subscribe(capacity=1) for _ in range(2)]

            async def echo(subscription):
                async for event in subscription:
                    if event.body["n"] < 20:
                        await emit(event.body["n"] + 1)

            echoes = [asyncio.create_task(echo(s)) for s in subscriptions]
            await ticks()
            with pytest.raises(DeadlockError):
                for n in range(4):
                    await emit(n)
                await asyncio.gather(*echoes)
            for task in echoes:
                task.cancel()
            await asyncio.wait(echoes)
            for subscription in subscriptions:
                assert is_balanced(subscription.statistics())

    run(scenario)


async def test_emitting_into_ones_own_full_queue_is_refused_at_once(bus, emit):
    own = bus.subscribe(capacity=2, name="own")
    other = bus.subscribe()
    await emit(0)
    await anext(own)
    await emit(1)
    await emit(2)
    with pytest.raises(DeadlockError, match="'own'") as caught:
        await emit(3)

    assert caught.value.name == "own"
    assert take_ready(other) == [0, 1, 2, 3]
    assert own.statistics().dropped == {"would_block": 1}
    assert take_ready(own) == [1, 2]
    assert await emit(4) == 2


async def test_another_tasks_queue_is_waited_for_even_if_this_task_took_from_it_once(bus, emit):
    shared = bus.subscribe(capacity=1)
    await emit(0)
    await anext(shared)

    async def consume():
        async for event in shared:
            if event.body["n"] == 3:
                return

    consumer = asyncio.create_task(consume())
    await ticks()
    for n in (1, 2, 3):
        await emit(n)
    await consumer


async def test_drop_oldest_keeps_the_newest(bus, emit):
    subscription = bus.subscribe(capacity=2, overflow=Overflow.DROP_OLDEST, gaps=True)
    for n in range(5):
        assert await emit(n) == 1

    assert take_ready(subscription) == [Gap(3), 3, 4]
    assert subscription.statistics().dropped == {"overflow": 3}
    assert is_balanced(subscription.statistics())


async def test_drop_newest_keeps_the_oldest(bus, emit):
    subscription = bus.subscribe(capacity=2, overflow="drop_newest", gaps=True)

    assert [await emit(n) for n in range(5)] == [1, 1, 0, 0, 0]
    assert take_ready(subscription) == [0, 1, Gap(3)]
    await emit(5)
    assert take_ready(subscription) == [5]
    assert subscription.statistics().dropped == {"overflow": 3}


async def test_gaps_stand_where_events_were_dropped_and_take_no_room(bus, emit):
    subscription = bus.subscribe(capacity=2, overflow="drop_newest", gaps=True)
    for n in range(4):
        await emit(n)
    assert (await anext(subscription)).body["n"] == 0
    for n in range(4, 7):
        await emit(n)

    assert subscription.statistics().pending == 2
    assert take_ready(subscription) == [1, Gap(2), 4, Gap(2)]


async def test_a_waiting_consumer_sees_a_gap_at_once():
    async with Bus(stall_timeout=0.01) as bus:
        emit = emit_to(bus)
        subscription = bus.subscribe(capacity=1, gaps=True)
        await emit(0)
        await emit(1)
        assert (await anext(subscription)).body["n"] == 0
        assert await anext(subscription) == Gap(1)


async def test_close_ends_the_subscription_after_what_was_queued(bus, emit):
    subscription = bus.subscribe(capacity=2, overflow=Overflow.CLOSE, name="strict")
    for n in range(4):
        await emit(n)
    taken = []
    with pytest.raises(SubscriptionOverflowError, match="'strict' overflowed") as caught:
        async for event in subscription:
            taken.append(event.body["n"])

    assert taken == [0, 1]
    assert (caught.value.name, caught.value.missed) == ("strict", 1)
    with pytest.raises(SubscriptionOverflowError):
        await anext(subscription)
    assert subscription.statistics().dropped == {"overflow": 1}
    assert bus.statistics().subscriptions == 0
    assert await emit(9) == 0


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "close"])
async def test_a_tight_loop_of_emits_takes_nothing_from_a_live_consumer(bus, emit, overflow):
    taken = []
    subscription = bus.subscribe(capacity=2, overflow=overflow)

    async def consume():
        async for event in subscription:
            taken.append(event.body["n"])

    consumer = asyncio.create_task(consume())
    await ticks()
    for n in range(100):
        await emit(n)
    subscription.shutdown()
    await consumer

    assert taken == list(range(100))
    assert subscription.statistics().dropped == {}


async def test_emits_that_yield_before_a_drop_keep_their_order(bus, emit):
    subscription = bus.subscribe(capacity=2, overflow="drop_oldest")
    await asyncio.gather(*(emit(n) for n in range(6)))

    assert take_ready(subscription) == [4, 5]


async def test_a_stalled_subscriber_recovers_under_a_tight_loop_of_emits():
    async with Bus(stall_timeout=0.01) as bus:
        emit, taken = emit_to(bus), []
        subscription = bus.subscribe(capacity=1)
        await emit(0)
        await emit(1)
        assert subscription.statistics().stalled

        async def consume():
            async for event in subscription:
                taken.append(event.body["n"])

        consumer = asyncio.create_task(consume())
        for n in range(2, 50):
            await emit(n)
        subscription.shutdown()
        await consumer
        assert taken == [0, *range(2, 50)]


@pytest.mark.parametrize(
    ("overflow", "kept", "reason"),
    [
        ("block", [0, 1], "would_block"),
        ("drop_oldest", [2, 3], "overflow"),
        ("drop_newest", [0, 1], "overflow"),
    ],
)
async def test_emit_nowait_never_waits_and_counts_what_it_drops(bus, overflow, kept, reason):
    subscription = bus.subscribe(capacity=2, overflow=overflow)
    for n in range(4):
        bus.emit_nowait("app", "1", "ok", "info", {"n": n})

    assert subscription.statistics().dropped == {reason: 2}
    assert take_ready(subscription) == kept


async def test_emit_nowait_closes_an_overflowing_subscription(bus):
    subscription = bus.subscribe(capacity=1, overflow="close")
    taken = [bus.emit_nowait("app", "1", "ok", "info", {"n": n}) for n in range(3)]

    assert taken == [True, True, True]  # by the bus; the subscription counts its drops
    assert (await anext(subscription)).body["n"] == 0
    with pytest.raises(SubscriptionOverflowError):
        await anext(subscription)


async def test_the_line_and_the_gaps_stay_bounded(bus, emit):
    subscription = bus.subscribe(capacity=1, gaps=True)
    await emit(0)
    for n in range(50):
        waiting = asyncio.create_task(emit(n))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)

    assert len(subscription._queue.items) == 2
    assert not subscription._queue._putters.waiting
    assert take_ready(subscription) == [0, Gap(50)]


async def test_an_event_put_back_before_a_gap_leaves_the_counts_true(bus):
    subscription = bus.subscribe(capacity=2, overflow="drop_oldest", gaps=True)
    for n in range(4):
        bus.emit_nowait("app", "1", "ok", "info", {"n": n})
    assert await anext(subscription) == edr.Gap(2)
    event = await anext(subscription)
    with contextlib.suppress(OSError), subscription.requeue_on_error(event):
        raise OSError
    for n in range(4, 8):
        bus.emit_nowait("app", "1", "ok", "info", {"n": n})
        assert is_balanced(subscription.statistics())

    assert take_ready(subscription) == [edr.Gap(4), 6, 7]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "close"])
async def test_a_log_handler_may_emit_into_the_queue_whose_loss_is_told(bus, overflow):
    class Emits(logging.Handler):
        def emit(self, record):
            bus.emit_nowait("log", "1", "ok", "info", {"n": -1})

    subscription, handler = bus.subscribe(capacity=2, overflow=overflow), Emits()
    logging.getLogger("edr").addHandler(handler)
    try:
        for n in range(6):
            bus.emit_nowait("app", "1", "ok", "info", {"n": n})
            assert is_balanced(subscription.statistics())
    finally:
        logging.getLogger("edr").removeHandler(handler)

    assert len(take_ready(subscription)) == 2
    assert is_balanced(subscription.statistics())
