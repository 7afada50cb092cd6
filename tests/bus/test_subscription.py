"""One subscription: taking, waiting, cancelling, ending."""

import asyncio
import contextlib
import copy
import functools
import gc
import pickle
import random
from dataclasses import replace

import pytest
from support.consuming import is_balanced, take_ready, ticks
from support.shuffled_loop import run

import edr
from edr import Binding, Bus, InvalidBindingError


async def test_subscribed_is_registered_when_it_returns(bus, emit):
    subscription = bus.subscribe()
    await emit(1)

    assert take_ready(subscription) == [1]


async def emit_each_verbosity(bus):
    for verbosity in edr.Verbosity:
        await bus.emit("app", "1", "ok", verbosity, {"n": verbosity.rank})


async def test_without_a_binding_it_receives_every_event(bus):
    every, default = bus.subscribe(), bus.subscribe(Binding())
    await emit_each_verbosity(bus)

    assert take_ready(every) == [0, 1, 2, 3, 4, 5]
    assert take_ready(default) == [2, 3, 4, 5]


async def test_fields_of_a_binding_have_its_defaults(bus):
    subscription = bus.subscribe(app_name="app")
    await emit_each_verbosity(bus)

    assert take_ready(subscription) == [2, 3, 4, 5]


async def test_rebound_without_a_binding_it_receives_every_event(bus):
    subscription = bus.subscribe(app_name="other")
    subscription.rebind()
    await emit_each_verbosity(bus)

    assert take_ready(subscription) == [0, 1, 2, 3, 4, 5]


async def test_an_event_comes_once_to_a_subscription_of_several_bindings(bus, emit):
    subscription = bus.subscribe(Binding(app_name="app"), Binding(), Binding(app_name=["app", "x"]))

    assert await emit(1) == 1
    assert take_ready(subscription) == [1]


async def test_events_come_in_the_order_of_their_emits(bus, emit):
    subscription = bus.subscribe()
    for n in range(100):
        await emit(n)

    assert take_ready(subscription) == list(range(100))


async def test_async_for_waits_and_ends_when_closed(bus, emit):
    seen = []

    async def consume(subscription):
        async for event in subscription:
            seen.append(event.body["n"])

    subscription = bus.subscribe()
    consumer = asyncio.create_task(consume(subscription))
    await ticks()
    await emit(1)
    await ticks()
    await emit(2)
    subscription.shutdown()
    await consumer

    assert seen == [1, 2]


async def test_close_lets_what_is_queued_be_taken_and_aclose_drops_it(bus, emit):
    kept, dropped = bus.subscribe(), bus.subscribe()
    await emit(1)
    kept.shutdown()
    kept.shutdown()
    await dropped.aclose()
    await dropped.aclose()
    await emit(2)

    assert [event.body["n"] async for event in kept] == [1]
    assert [event async for event in dropped] == []
    assert kept.statistics().dropped == {}
    assert dropped.statistics().dropped == {"closed": 1}
    assert bus.statistics().subscriptions == 0


async def test_the_end_of_async_with_leaves_nothing_in_the_bus(bus, emit):
    async with bus.subscribe() as subscription:
        await emit(1)
        assert await anext(subscription)
        await emit(2)

    assert bus.statistics().subscriptions == 0
    assert bus.statistics().dropped == {"closed": 1}
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_break_leaves_nothing_in_the_bus(bus, emit):
    async def consume():
        async for event in bus.subscribe():
            return event.body["n"]

    consumer = asyncio.create_task(consume())
    await ticks()
    await emit(1)
    await emit(2)

    assert await consumer == 1
    assert bus.statistics().subscriptions == 0
    assert is_balanced(bus.statistics())


async def test_an_exception_in_the_loop_body_leaves_nothing_in_the_bus(bus, emit):
    async def consume():
        async for _ in bus.subscribe():
            raise RuntimeError

    consumer = asyncio.create_task(consume())
    await ticks()
    await emit(1)
    with pytest.raises(RuntimeError):
        await consumer
    del consumer

    assert bus.statistics().subscriptions == 0


async def test_a_subscription_that_nobody_holds_is_gone(bus, emit):
    subscription = bus.subscribe()
    cycle = [subscription]
    cycle.append(cycle)
    await emit(1)
    del subscription, cycle
    gc.collect()
    await ticks()

    assert " 0 subscription" in repr(bus)
    assert await emit(2) == 0
    assert bus.statistics().dropped == {"closed": 1}


async def test_a_collected_subscription_frees_the_emitter_that_waits_for_it(bus, emit):
    subscription = bus.subscribe(capacity=1)
    await emit(1)
    waiting = asyncio.create_task(emit(2))
    await ticks()
    assert not waiting.done()
    del subscription

    assert await waiting == 0
    assert bus.statistics().dropped == {"closed": 2}


async def test_a_cancelled_consumer_loses_no_event(bus, emit):
    subscription = bus.subscribe()
    consumer = asyncio.create_task(anext(subscription))
    await ticks()
    consumer.cancel()
    await emit(1)
    with pytest.raises(asyncio.CancelledError):
        await consumer

    assert take_ready(subscription) == [1]


async def test_delivery_and_cancellation_in_the_same_tick_lose_no_event(bus, emit):
    subscription = bus.subscribe()
    consumer = asyncio.create_task(anext(subscription))
    await ticks()
    await emit(1)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer

    assert take_ready(subscription) == [1]
    assert is_balanced(subscription.statistics())


async def test_the_wake_up_of_a_cancelled_consumer_goes_to_the_next(bus, emit):
    subscription = bus.subscribe()
    first, second = (asyncio.create_task(anext(subscription)) for _ in range(2))
    await ticks()
    await emit(1)
    first.cancel()

    assert (await second).body["n"] == 1


async def test_several_tasks_share_a_subscription(bus, emit):
    subscription = bus.subscribe()
    takers = [asyncio.create_task(anext(subscription)) for _ in range(3)]
    await ticks()
    for n in range(3):
        await emit(n)
    taken = await asyncio.gather(*takers)

    assert sorted(event.body["n"] for event in taken) == [0, 1, 2]


async def test_anext_can_time_out_and_be_used_again(bus, emit):
    subscription = bus.subscribe()
    for n in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(subscription)
        await emit(n)
        async with asyncio.timeout(5):
            assert (await anext(subscription)).body["n"] == n


async def test_close_wakes_every_waiting_consumer(bus):
    subscription = bus.subscribe()

    async def consume():
        return [event async for event in subscription]

    consumers = [asyncio.create_task(consume()) for _ in range(3)]
    await ticks()
    subscription.shutdown()

    assert await asyncio.gather(*consumers) == [[], [], []]


async def test_subscribe_and_close_during_an_emit_that_waits(bus, emit):
    full = bus.subscribe(capacity=1)
    await emit(1)
    waiting = asyncio.create_task(emit(2))
    await ticks()
    late = bus.subscribe()
    full.shutdown()
    assert take_ready(full) == [1, 2]

    assert await waiting == 1
    assert take_ready(late) == []


async def test_one_subscriber_can_close_another_inside_its_delivery(bus, emit):
    first, second = bus.subscribe(), bus.subscribe()

    async def close_second():
        async for _ in first:
            second.shutdown()

    task = asyncio.create_task(close_second())
    await ticks()
    assert await emit(1) == 2
    await ticks()
    assert await emit(2) == 1
    first.shutdown()
    await task

    assert take_ready(second) == [1]


async def test_statistics_are_a_true_and_frozen_snapshot(bus, emit):
    subscription = bus.subscribe(capacity=10, name="mine")
    for n in range(7):
        await emit(n)
    await anext(subscription)
    statistics = subscription.statistics()
    await anext(subscription)

    assert 0 < statistics.oldest_age < 60
    assert replace(statistics, oldest_age=0) == edr.SubscriptionStatistics(
        name="mine",
        offered=7,
        delivered=1,
        dropped={},
        pending=6,
        peak_pending=7,
        stalled=False,
        oldest_age=0,
        failed=0,
        retried=0,
        in_flight=0,
    )
    with pytest.raises(AttributeError):
        statistics.offered = 0
    assert "mine" in repr(subscription)


async def test_the_peak_is_the_most_that_was_ever_pending(bus, emit):
    subscription = bus.subscribe(capacity=100)
    peaks = []
    for burst in (1, 3, 2, 5, 5, 4, 60):
        for n in range(burst):
            await emit(n)
        take_ready(subscription)
        peaks.append(subscription.statistics().peak_pending)

    assert peaks == [1, 3, 3, 5, 5, 5, 60]


@pytest.mark.parametrize("options", [{"capacity": 0}, {"overflow": "explode"}])
async def test_wrong_options_are_refused_and_nothing_is_registered(bus, options):
    with pytest.raises(ValueError):
        bus.subscribe(**options)
    with pytest.raises(InvalidBindingError, match=r"\[1\]: must be an edr.Binding"):
        bus.subscribe(Binding(), {"app_name": "x"})

    assert bus.statistics().subscriptions == 0


async def test_what_a_subscriber_does_to_its_event_is_not_seen_by_another(bus, emit):
    one, other = bus.subscribe(), bus.subscribe()
    body = {"n": [1]}
    await bus.emit("app", "1", "ok", "info", body)
    body["n"].append(2)
    event = await anext(one)
    with pytest.raises(TypeError):
        event.body["n"].append(3)

    assert (await anext(other)).body == {"n": [1]}


async def test_a_consumer_that_never_starts_costs_the_others_nothing():
    async with Bus(stall_timeout=0.01) as bus:
        idle, live = bus.subscribe(capacity=1, name="idle"), bus.subscribe(capacity=10)
        for n in range(3):
            await bus.emit("app", "1", "ok", "info", {"n": n})

        assert take_ready(live) == [0, 1, 2]
        assert idle.statistics().dropped == {"stalled": 2}


async def test_rebinding_keeps_what_is_queued_and_misses_and_doubles_nothing(bus, emit):
    subscription = bus.subscribe(edr.Binding(app_name=["a", "b"]))
    await emit(1, "a")
    subscription.rebind(edr.Binding(app_name=["b", "c"]))
    for n, app in enumerate("abc", 2):
        await emit(n, app)

    assert take_ready(subscription) == [1, 3, 4]
    assert subscription.bindings == (edr.Binding(app_name=["b", "c"]),)
    assert subscription.statistics().offered == 3


async def test_a_rebind_that_is_refused_changes_nothing(bus, emit):
    subscription = bus.subscribe(edr.Binding(app_name="a"))
    with pytest.raises(edr.InvalidBindingError):
        subscription.rebind("a")
    await emit(1, "a")
    subscription.shutdown()
    with pytest.raises(edr.BusClosedError):
        subscription.rebind()

    assert take_ready(subscription) == [1]
    assert subscription.bindings == ()


async def test_take_gives_what_is_queued_without_waiting(bus, emit):
    subscription = bus.subscribe(overflow="close", capacity=3)
    assert subscription.take() == []
    for n in range(3):
        await emit(n)
    first, rest = subscription.take(2), subscription.take()
    for n in range(4):
        await emit(n)

    assert [event.body["n"] for event in first + rest] == [0, 1, 2]
    assert len(subscription.take()) == 3
    with pytest.raises(edr.SubscriptionOverflowError):
        subscription.take()
    for wrong in (0, 2.0, "a"):
        with pytest.raises((ValueError, TypeError), match="limit"):
            subscription.take(wrong)


def numbers(batch):
    return [event.body["n"] for event in batch]


def test_a_batch_is_complete_or_as_old_as_it_may_be():
    async def scenario():
        async with Bus() as bus:
            subscription, batches = bus.subscribe(), []
            loop = asyncio.get_running_loop()

            async def consume():
                async for batch in subscription.batches(3, max_wait=1):
                    batches.append((loop.time(), numbers(batch)))

            consumer = asyncio.create_task(consume())
            for n in range(8):
                await bus.emit("app", "1", "ok", "info", {"n": n})
                await asyncio.sleep(0.25 if n < 6 else 0.75)
            subscription.shutdown()
            await consumer
            assert batches == [(0.5, [0, 1, 2]), (1.25, [3, 4, 5]), (2.5, [6, 7])]
            assert subscription.statistics().delivered == 8

    run(scenario)


def test_a_cancelled_batch_has_taken_nothing_and_the_bound_holds():
    async def scenario():
        async with Bus() as bus:
            subscription = bus.subscribe(capacity=4)
            batches = subscription.batches(10, max_wait=5)
            for n in range(2):
                await bus.emit("app", "1", "ok", "info", {"n": n})
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(batches)
            assert subscription.statistics().pending == 2
            taking = asyncio.create_task(anext(batches))
            for n in range(2, 4):
                await bus.emit("app", "1", "ok", "info", {"n": n})
            assert numbers(await taking) == [0, 1, 2, 3]
            assert asyncio.get_running_loop().time() == 1
            assert is_balanced(subscription.statistics())
            assert subscription.statistics().peak_pending == 4

    run(scenario)


@pytest.mark.parametrize("seed", range(20))
def test_batches_lose_and_double_nothing_whatever_the_order(seed):
    async def scenario():
        rng, seen = random.Random(seed), []

        async def consume():
            async for batch in subscription.batches(rng.randint(1, 5), max_wait=rng.choice([0, 1])):
                assert len(batch) >= 1
                seen.extend(numbers(batch))
                await asyncio.sleep(rng.choice([0, 0, 0.5]))

        async with Bus() as bus:
            subscription = bus.subscribe(capacity=rng.randint(1, 4))
            consumers = [asyncio.create_task(consume()) for _ in range(rng.randint(1, 2))]
            for n in range(30):
                await bus.emit("app", "1", "ok", "info", {"n": n})
                assert subscription.statistics().pending <= 5
                if rng.random() < 0.3:
                    await asyncio.sleep(rng.choice([0, 0.5, 2]))
        await asyncio.gather(*consumers)
        assert sorted(seen) == list(range(30))
        assert is_balanced(subscription.statistics())

    run(scenario, seed)


async def test_an_event_whose_handling_fails_is_the_next_one_again(bus, emit):
    subscription, seen = bus.subscribe(capacity=2), []
    await emit(1)
    await emit(2)
    for tries in range(3):
        event = await anext(subscription)
        with contextlib.suppress(OSError), subscription.requeue_on_error(event):
            seen.append(event.body["n"])
            if tries == 0:
                raise OSError
    assert seen == [1, 1, 2]
    assert is_balanced(subscription.statistics())
    assert subscription.statistics().delivered == 2

    subscription.shutdown()
    await bus.aclose()
    with contextlib.suppress(OSError), subscription.requeue_on_error(event):
        raise OSError
    assert is_balanced(subscription.statistics())
    assert bus.statistics().pending == subscription.statistics().pending


@pytest.mark.parametrize(
    ("use", "way_out"),
    [
        (lambda _, it: it.take(), "in a coroutine of its bus's loop"),
        (lambda _, it: it.rebind(), r"use loop.call_soon_threadsafe\(subscription.rebind\)"),
        (lambda _, it: it.shutdown(), r"use loop.call_soon_threadsafe\(subscription.shutdown\)"),
        (lambda bus, _: bus.subscribe(), "call this in the loop of <Bus"),
        (lambda bus, _: bus.bind(edr.Binding(), print), "call this in the loop of <Bus"),
    ],
)
async def test_in_another_thread_the_error_says_what_to_call_instead(bus, emit, use, way_out):
    subscription = bus.subscribe()
    await emit(1)
    with pytest.raises(edr.WrongLoopError, match=way_out):
        await asyncio.to_thread(use, bus, subscription)

    assert take_ready(subscription) == [1]


async def test_requeue_on_error_within_returning_puts_the_event_back_once(bus, emit):
    events = bus.subscribe()
    await emit(1)
    (event,) = events.take()
    with (
        contextlib.suppress(ValueError),
        events.requeue_on_error(event),
        events.requeue_on_error(event),
    ):
        raise ValueError

    assert (events.statistics().delivered, events.statistics().pending) == (0, 1)
    assert events.take() == [event]


async def test_inner_returning_puts_back_what_the_outer_one_survives(bus, emit):
    events = bus.subscribe()
    await emit(1)
    (event,) = events.take()
    with (
        events.requeue_on_error(event),
        contextlib.suppress(ValueError),
        events.requeue_on_error(event),
    ):
        raise ValueError

    assert events.take() == [event]


async def test_requeue_on_error_refuses_an_event_that_was_not_taken(bus, emit, make_event):
    events = bus.subscribe()
    with (
        pytest.raises(ValueError, match="must get an event taken from"),
        events.requeue_on_error(make_event()),
    ):
        pass


async def test_wake_up_of_a_closed_anext_goes_to_another_consumer(bus, emit):
    events = bus.subscribe()
    closed = events.__anext__()
    closed.send(None)
    closed.close()
    live = asyncio.create_task(anext(events))
    await asyncio.sleep(0)
    await emit(1)

    assert (await live).body["n"] == 1


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
async def test_bus_subscription_and_handle_refuse_to_be_copied(bus, emit, copying):
    events = bus.subscribe()
    for it in (bus, events, bus.bind(Binding(), print)):
        with pytest.raises(TypeError, match="must not be copied or pickled"):
            copying(it)
    await emit(1)

    assert len(events.take()) == 1


async def test_name_that_is_not_a_string_is_refused(bus):
    for call in (bus.subscribe, functools.partial(bus.bind, Binding(), print)):
        with pytest.raises(TypeError, match="name must be a string, got 5"):
            call(name=5)

    assert bus.statistics().subscriptions == 0
