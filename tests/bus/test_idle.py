"""Drain, settled and aclose: they end, they share, and what they leave they tell."""

import asyncio
import contextlib
import logging

import pytest
from support.consuming import is_balanced, take_ready, ticks
from support.shuffled_loop import run

from edr import Binding, Bus, BusClosedError, WrongLoopError
from edr.bus import inbox

ALL = Binding()
ARGS = ("app", "1", "ok", "info", {"n": 1})


async def test_two_callbacks_may_both_drain(bus, emit):
    seen = []

    async def drains(event, who):
        seen.append((who, await bus.drain()))

    bus.bind(ALL, drains, "one")
    bus.bind(ALL, drains, "two")
    await emit(1)
    async with asyncio.timeout(5):
        assert await bus.drain() == {}
    await ticks()

    assert sorted(seen) == [("one", {}), ("two", {})]


async def test_all_who_drain_share_one_drain(bus, emit):
    seen = []

    async def slow(event):
        await asyncio.sleep(0)
        seen.append(event.body["n"])

    bus.bind(ALL, slow)
    for n in range(10):
        await emit(n)
    outcomes = await asyncio.gather(*(bus.drain() for _ in range(3)))

    assert outcomes == [{}, {}, {}]
    assert seen == list(range(10))
    assert bus.statistics().pending == 0


async def test_a_drain_that_follows_a_cancelled_one_waits_for_it(bus, emit):
    gate, seen = asyncio.Event(), []

    async def slow(event):
        await gate.wait()
        seen.append(event.body["n"])

    bus.bind(ALL, slow)
    for n in range(10):
        await emit(n)
    first = asyncio.create_task(bus.drain())
    await ticks()
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.create_task(bus.drain())
    await ticks()
    gate.set()

    assert await second == {}
    assert seen == list(range(10))


def test_the_shortest_timeout_ends_a_drain_for_all():
    async def scenario():
        bus = Bus()
        bus.bind(ALL, lambda event: asyncio.Event().wait(), name="hangs")
        await bus.emit(*ARGS)
        long, short = await asyncio.gather(bus.drain(60), bus.drain(2))
        assert long == short == {"hangs": 1}
        assert asyncio.get_running_loop().time() == pytest.approx(2, abs=0.1)

    run(scenario)


def test_a_bus_whose_emitters_wait_for_ever_ends_all_the_same():
    async def scenario():
        async with Bus(stall_timeout=float("inf")) as bus:
            idle = bus.subscribe(name="idle")
            await bus.emit(*ARGS)
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)
        assert idle.statistics().dropped == {"closed": 1}

    run(scenario)


@pytest.mark.parametrize("ticks_before", range(8))
def test_a_cancelled_end_leaves_no_task_and_nothing_pending(ticks_before):
    async def scenario():
        async def use():
            async with bus:
                bus.bind(ALL, lambda event: asyncio.Event().wait(), name="hangs")
                bus.subscribe(name="idle")
                for _ in range(3):
                    await bus.emit(*ARGS)

        bus = Bus()
        using = asyncio.create_task(use())
        await ticks(3 + ticks_before)
        using.cancel()
        await asyncio.wait({using})
        assert using.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert bus.statistics().pending == 0
        assert is_balanced(bus.statistics())

    run(scenario)


def test_events_that_follow_from_events_are_handled_while_it_drains():
    async def scenario():
        seen = []

        async def order(event):
            await asyncio.sleep(1)
            await bus.emit("invoices", "1", "ok", "info", event.body)

        async def forward():
            async for event in invoices:
                await bus.emit("mails", "1", "ok", "info", event.body)

        bus = Bus()
        invoices = bus.subscribe(Binding(app_name="invoices"))
        bus.bind(Binding(app_name="orders"), order)
        bus.bind(Binding(app_name="mails"), lambda event: seen.append(event.body["n"]))
        forwarding = asyncio.create_task(forward())
        for n in range(3):
            await bus.emit("orders", "1", "ok", "info", {"n": n})
        assert await bus.drain() == {}
        await forwarding
        assert seen == [0, 1, 2]
        assert is_balanced(bus.statistics())

    run(scenario)


async def test_who_emits_from_elsewhere_is_refused_while_it_drains(bus, emit):
    gate = asyncio.Event()
    bus.bind(ALL, lambda event: gate.wait())
    await emit(1)
    draining = asyncio.create_task(bus.drain())
    await ticks()
    for use in (
        bus.subscribe,
        lambda: bus.bind(ALL, print),
        lambda: bus.emit_threadsafe(*ARGS),
    ):
        with pytest.raises(BusClosedError, match="drains"):
            use()
    assert bus.emit_nowait(*ARGS) is False
    assert bus.statistics().refused == 1
    gate.set()

    assert await draining == {}


async def test_settled_waits_for_what_is_queued_and_what_follows_and_stays_open(bus, emit):
    seen = []

    async def first(event):
        await asyncio.sleep(0)
        await emit(event.body["n"] + 1, "second")

    bus.bind(Binding(app_name="first"), first)
    bus.bind(Binding(app_name="second"), lambda event: seen.append(event.body["n"]))
    await emit(1, "first")
    assert await bus.join() == {}
    await emit(2, "first")
    assert await bus.join() == {}

    assert seen == [2, 3]


def test_settled_tells_what_its_time_did_not_suffice_for():
    async def scenario():
        async with Bus() as bus:
            gate = asyncio.Event()
            bus.bind(ALL, lambda event: gate.wait(), name="slow")
            idle = bus.subscribe(name="idle")
            await bus.emit(*ARGS)
            await bus.emit(*ARGS)
            assert await bus.join(timeout=1) == {"slow": 2, "idle": 2}
            gate.set()
            assert take_ready(idle) == [1, 1]
            assert await bus.join() == {}

    run(scenario)


async def test_a_callback_may_wait_until_the_bus_is_settled(bus, emit):
    seen = []

    async def waits(event):
        if event.body["n"] == 0:
            seen.append(await bus.join(timeout=5))

    bus.bind(ALL, waits)
    bus.bind(ALL, lambda event: seen.append(event.body["n"]))
    await emit(0)
    await bus.join()
    await ticks()

    assert seen == [0, {}]


def test_an_end_that_leaves_events_undone_says_so_once(caplog):
    async def scenario():
        async with Bus(node="n") as bus:
            bus.subscribe(name="unread")
            kept = bus.subscribe(name="forgotten")
            for _ in range(3):
                await bus.emit(*ARGS)
            assert kept

    run(scenario)
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    drains, ended = [each.getMessage() for each in warnings if "forgotten" in each.getMessage()]
    assert (
        drains == "<Bus 'n' open, 1 subscription(s)> drains, with events left undone: 'forgotten' 3"
    )
    assert "'forgotten' 3" in ended


async def test_aclose_lets_go_of_the_loop_between_slices():
    bus = Bus()
    held = [bus.subscribe() for _ in range(2000)]
    closing = asyncio.create_task(bus.aclose())
    turns = 0
    while not closing.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns >= 4
    assert held
    assert bus.statistics().subscriptions == 0


async def test_a_task_that_a_callback_once_began_is_not_taken_for_its_present_call(bus, emit):
    handled, outcomes = [], []

    async def callback(event):
        n = event.body["n"]
        if n == 0:
            began.append(asyncio.create_task(drain()))
        await asyncio.sleep(0)
        handled.append(n)

    async def drain():
        await ticks(3)
        outcomes.append(await bus.drain())

    began = []
    bus.bind(ALL, callback)
    for n in range(10):
        await emit(n)
    await asyncio.sleep(0)
    await began[0]

    assert (handled, outcomes) == (list(range(10)), [{}])


async def test_what_was_closed_and_still_holds_events_is_waited_for_and_told_of(bus, emit):
    seen = []

    async def consume():
        async for event in subscription:
            await asyncio.sleep(0)
            seen.append(event.body["n"])

    subscription, unread = bus.subscribe(), bus.subscribe(name="unread")
    consumer = asyncio.create_task(consume())
    for n in range(5):
        await emit(n)
    subscription.shutdown()
    unread.shutdown()
    assert await bus.join(timeout=0.3) == {"unread": 5}
    assert await bus.drain(timeout=0.01) == {"unread": 5}
    await consumer

    assert seen == list(range(5))
    assert bus.statistics().dropped == {"closed": 5}


async def test_an_event_that_was_put_back_is_not_lost_from_sight(bus, emit):
    subscription = bus.subscribe(name="s")
    await emit(1)
    event = await anext(subscription)
    bus.statistics()
    with contextlib.suppress(OSError), subscription.requeue_on_error(event):
        raise OSError

    assert (bus.statistics().pending, bus.statistics().delivered) == (1, 0)
    assert await bus.join(timeout=0.01) == {"s": 1}


async def test_a_consumer_may_emit_while_it_drains_whatever_was_counted_before(bus):
    async def forward():
        async for event in source:
            await asyncio.sleep(0)
            bus.statistics()
            taken.append(await bus.emit("second", "1", "ok", "info", event.body))

    taken, source = [], bus.subscribe(app_name="first")
    target = bus.subscribe(app_name="second")
    forwarding = asyncio.create_task(forward())
    await bus.emit("first", "1", "ok", "info", {"n": 1})
    draining = asyncio.create_task(bus.drain(timeout=1))
    await ticks(20)

    assert taken == [1]
    assert take_ready(target) == [1]
    assert await draining == {}
    await forwarding


def test_one_that_refuses_all_that_comes_is_given_up():
    async def scenario():
        bus = Bus(stall_timeout=5)
        dead = bus.subscribe(name="dead", capacity=1, overflow="drop_newest")

        async def keep_emitting():
            while True:
                await bus.emit(*ARGS)
                await asyncio.sleep(1)

        emitting = asyncio.create_task(keep_emitting())
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
        assert await bus.join() == {"dead": 1}
        assert asyncio.get_running_loop().time() - began == pytest.approx(5, abs=1)
        emitting.cancel()
        await dead.aclose()

    run(scenario)


async def test_a_drain_that_aclose_ends_tells_what_was_left(bus, emit):
    held = bus.subscribe(name="held")
    for n in range(5):
        await emit(n)
    draining = asyncio.create_task(bus.drain())
    await ticks()
    await bus.aclose()

    assert await draining == {"held": 5}
    assert held.statistics().dropped == {"closed": 5}


async def test_a_program_that_cancels_all_tasks_while_it_drains_can_drain_again(bus, emit):
    subscription = bus.subscribe(name="s")
    await emit(1)
    first = asyncio.create_task(bus.drain())
    await ticks()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await ticks()
    assert first.cancelled()
    assert await emit(2) == 1
    assert await bus.drain(timeout=0.01) == {"s": 2}
    assert subscription.statistics().dropped == {"closed": 2}


async def test_an_emit_that_waits_for_a_look_up_is_not_cut_off_by_a_drain():
    class Slow:
        async def ancestors(self, account_id):
            await ticks(5)
            return []

    seen = []
    async with Bus(accounts=Slow()) as bus:
        bus.bind(ALL, seen.append)
        emitting = asyncio.create_task(bus.emit(*ARGS, "acme"))
        await asyncio.sleep(0)

    assert await emitting == 1
    assert len(seen) == 1


async def test_a_callback_may_hand_over_any_number_of_events_while_it_drains(bus, monkeypatch):
    monkeypatch.setattr(inbox, "MAX_ON_THE_WAY", 3)
    seen = []

    def callback(event):
        if event.body["n"] == 1:
            for n in range(10, 20):
                bus.emit_threadsafe("app", "1", "ok", "info", {"n": n})
        seen.append(event.body["n"])

    bus.bind(ALL, callback)
    await bus.emit(*ARGS)
    assert await bus.drain() == {}

    assert seen == [1, *range(10, 20)]


async def test_ends_from_another_loop_are_refused_and_after_its_end_they_are_no_error(bus, emit):
    held = bus.subscribe()
    await emit(1)
    for end in (bus.drain, bus.aclose, lambda: anext(held)):
        with pytest.raises(WrongLoopError):
            await asyncio.to_thread(asyncio.run, wait_for(end))

    loop, other = asyncio.new_event_loop(), Bus()

    async def use():
        other.enter()

    await asyncio.to_thread(loop.run_until_complete, use())
    loop.close()
    await other.aclose()
    assert "closed" in repr(other)


async def wait_for(end):
    return await end()


def test_drain_waits_for_a_callback_that_has_awaited_settled():
    async def main(delay):
        bus, log = Bus(), []

        async def callback(_event):
            log.append(await bus.join())
            await asyncio.sleep(10)
            log.append("done")

        bus.bind(ALL, callback)
        await bus.emit(*ARGS)
        await ticks(delay)
        assert await bus.drain() == {}
        assert log == [{}, "done"]

    for delay in range(6):
        run(lambda delay=delay: main(delay))


@pytest.mark.parametrize("call", ["drain", "join"])
@pytest.mark.parametrize(("timeout", "error"), [("5", TypeError), (-1, ValueError)])
async def test_timeout_is_checked_before_anything_begins(bus, emit, call, timeout, error):
    with pytest.raises(error, match="timeout"):
        await getattr(bus, call)(timeout)

    assert await emit(1) == 0
