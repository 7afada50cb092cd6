"""A bus in its loop: threads, forks, second loops, drain and aclose."""

import asyncio
import gc
import os
import subprocess
import sys
import threading

import pytest
from support.consuming import is_balanced, take_ready, ticks
from support.forking import fork
from support.shuffled_loop import run

import edr
from edr import Binding, Bus, BusClosedError, WrongLoopError
from edr.bus.inbox import MAX_ON_THE_WAY

ALL = Binding()
ARGS = ("app", "1", "ok", "info", {"n": 1})


async def test_a_clean_end_drains_and_an_error_closes():
    seen = []
    async with Bus() as bus:
        bus.bind(ALL, seen.append)
        await bus.emit(*ARGS)
    assert len(seen) == 1

    with pytest.raises(RuntimeError):
        async with Bus() as bus:
            bus.bind(ALL, seen.append)
            await bus.emit(*ARGS)
            raise RuntimeError
    assert len(seen) == 1
    assert bus.statistics().dropped == {"closed": 1}


async def test_everything_on_a_closed_bus_is_a_clear_error(bus):
    subscription = bus.subscribe()
    await bus.aclose()
    await bus.aclose()

    for use in (
        lambda: bus.emit_threadsafe(*ARGS),
        bus.subscribe,
        lambda: bus.bind(ALL, print),
        bus.enter,
    ):
        with pytest.raises(BusClosedError, match="closed"):
            use()
    assert bus.emit_nowait(*ARGS) is False
    assert bus.statistics().refused == 1
    with pytest.raises(BusClosedError):
        await bus.emit(*ARGS)
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)
    assert await bus.drain() == {}


async def test_drain_ends_iterators_after_what_they_held(bus, emit):
    seen = []

    async def consume():
        async for event in subscription:
            await asyncio.sleep(0)
            seen.append(event.body["n"])

    subscription = bus.subscribe(capacity=3)
    consumer = asyncio.create_task(consume())
    for n in range(3):
        await emit(n)
    waiting = asyncio.create_task(emit(3))
    await ticks(1)

    assert await bus.drain() == {}
    assert await waiting == 1
    await consumer
    assert seen == [0, 1, 2, 3]


async def test_drain_refuses_new_events_while_it_waits(bus, emit):
    gate = asyncio.Event()

    async def slow(event):
        await gate.wait()

    bus.bind(ALL, slow)
    await emit(1)
    draining = asyncio.create_task(bus.drain())
    await ticks()
    with pytest.raises(BusClosedError):
        await emit(2)
    gate.set()

    assert await draining == {}


def test_drain_tells_what_a_deadline_left_undone():
    async def scenario():
        bus = Bus()
        stuck = asyncio.Event()

        async def hangs(event):
            await stuck.wait()

        bus.bind(ALL, hangs, name="hangs")
        idle = bus.subscribe(name="idle")
        for _ in range(3):
            await bus.emit(*ARGS)
        await ticks()
        assert await bus.drain(timeout=2) == {"hangs": 3, "idle": 3}
        assert asyncio.get_running_loop().time() == pytest.approx(2, abs=0.1)
        assert is_balanced(bus.statistics())
        assert bus.statistics().pending == 0
        assert idle.statistics().dropped == {"closed": 3}

    run(scenario)


async def test_aclose_after_a_cancelled_drain_drops_and_counts_what_is_left(bus, emit):
    subscription = bus.subscribe()
    await emit(1)
    await emit(2)
    draining = asyncio.create_task(bus.drain())
    await ticks()
    draining.cancel()
    await asyncio.wait({draining})
    await bus.aclose()

    assert subscription.statistics().dropped == {"closed": 2}
    assert [event async for event in subscription] == []


def test_drain_does_not_wait_for_ever_for_one_that_nobody_iterates():
    async def scenario():
        bus = Bus(stall_timeout=5)
        idle = bus.subscribe(name="idle", capacity=1)
        await bus.emit(*ARGS)
        assert await bus.drain() == {"idle": 1}
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)
        assert idle.statistics().pending == 0

    run(scenario)


async def test_aclose_frees_the_emitters_that_wait(bus, emit):
    subscription = bus.subscribe(capacity=1)
    await emit(1)
    waiting = asyncio.create_task(emit(2))
    await ticks()
    await bus.aclose()

    assert await waiting == 0
    assert subscription.statistics().dropped == {"closed": 2}


def test_aclose_does_not_wait_for_ever_for_a_callback_that_swallows_its_cancellation(caplog):
    async def scenario():
        bus, release = Bus(), asyncio.Event()

        async def stubborn(event):
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        bus.bind(ALL, stubborn, name="stubborn")
        await bus.emit(*ARGS)
        await ticks()
        await bus.aclose()
        assert asyncio.get_running_loop().time() < 2
        release.set()
        await ticks()

    run(scenario)
    assert "ignores its cancellation" in caplog.text


def test_a_bus_can_be_filled_before_a_loop_runs():
    seen = []
    bus = Bus()
    bus.bind(ALL, lambda event: seen.append(event.body["n"]))
    subscription = bus.subscribe()

    async def main():
        await bus.emit(*ARGS)
        await bus.aclose() if seen else await bus.drain(timeout=0.2)

    asyncio.run(main())
    assert seen == [1]
    assert subscription.statistics().offered == 1


def test_a_bus_belongs_to_the_loop_of_its_first_use():
    bus = Bus()
    asyncio.run(bus.emit(*ARGS))

    async def use(method):
        outcome = method()
        if asyncio.iscoroutine(outcome):
            await outcome

    for method in (
        lambda: bus.emit(*ARGS),
        bus.subscribe,
    ):
        with pytest.raises(WrongLoopError, match="another event loop"):
            asyncio.run(use(method))
    assert asyncio.run(bus.drain()) == {}


def test_a_subscription_is_not_taken_from_in_another_loop():
    bus = Bus()
    subscription = bus.subscribe()

    async def emit_and_take():
        await bus.emit(*ARGS)
        await anext(subscription)

    asyncio.run(emit_and_take())
    with pytest.raises(WrongLoopError):
        asyncio.run(subscription.__anext__())


async def test_using_a_bus_in_another_thread_names_the_call_to_use_instead(bus):
    await bus.emit(*ARGS)

    def emit():
        asyncio.run(bus.emit(*ARGS))

    with pytest.raises(WrongLoopError, match="emit_threadsafe"):
        await asyncio.to_thread(emit)


@pytest.mark.slow
async def test_emit_threadsafe_keeps_the_threads_order_and_tells_the_outcome(bus):
    subscription = bus.subscribe(capacity=10_000)
    bus.enter()

    def work():
        futures = [bus.emit_threadsafe("app", "1", "ok", "info", {"n": n}) for n in range(3000)]
        return [future.result() for future in futures]

    outcomes = await asyncio.to_thread(work)

    assert outcomes == [1] * 3000
    assert take_ready(subscription) == list(range(3000))


async def test_emit_threadsafe_copies_and_stamps_in_the_thread(bus):
    subscription = bus.subscribe()
    bus.enter()
    body = {"n": 1}
    future = bus.emit_threadsafe("app", "1", "ok", "info", body)
    body["n"] = 2
    bus.emit_nowait("app", "1", "ok", "info", {"n": 3})

    assert await asyncio.wrap_future(future) == 1
    later, earlier = [await anext(subscription) for _ in range(2)]
    assert (earlier.body["n"], later.body["n"]) == (1, 3)
    assert earlier.timestamp <= later.timestamp


@pytest.mark.slow
async def test_a_thread_waits_while_too_many_of_its_events_are_on_their_way(bus):
    subscription = bus.subscribe(capacity=1)
    bus.enter()
    handed_over = 0

    def work():
        nonlocal handed_over
        for n in range(MAX_ON_THE_WAY + 50):
            bus.emit_threadsafe("app", "1", "ok", "info", {"n": n})
            handed_over += 1

    working = asyncio.create_task(asyncio.to_thread(work))
    while handed_over < MAX_ON_THE_WAY:
        await asyncio.sleep(0)
    assert handed_over <= MAX_ON_THE_WAY + 1
    taken = [(await anext(subscription)).body["n"] for _ in range(MAX_ON_THE_WAY + 50)]
    await working

    assert taken == list(range(MAX_ON_THE_WAY + 50))


@pytest.mark.slow
async def test_closing_the_bus_frees_the_threads_that_wait(bus):
    subscription = bus.subscribe(capacity=1)
    bus.enter()
    outcomes = []

    def work():
        try:
            while True:
                outcomes.append(bus.emit_threadsafe(*ARGS))
        except BusClosedError:
            return [future.exception(timeout=5) or future.result() for future in outcomes]

    working = asyncio.create_task(asyncio.to_thread(work))
    while len(outcomes) < MAX_ON_THE_WAY:
        await asyncio.sleep(0)
    await bus.aclose()
    results = await working

    assert {type(result) for result in results} <= {int, BusClosedError}
    assert is_balanced(subscription.statistics())


async def test_drain_delivers_what_threads_handed_over(bus):
    seen = []
    bus.bind(ALL, lambda event: seen.append(event.body["n"]), capacity=1)
    bus.enter()
    futures = [bus.emit_threadsafe("app", "1", "ok", "info", {"n": n}) for n in range(10)]
    await bus.drain()

    assert seen == list(range(10))
    assert [future.result(timeout=0) for future in futures] == [1] * 10


def test_emit_threadsafe_before_and_after_the_loop_is_a_clear_error():
    bus = Bus()
    with pytest.raises(WrongLoopError, match="has no event loop yet"):
        bus.emit_threadsafe(*ARGS)
    asyncio.run(bus.emit(*ARGS))
    with pytest.raises(BusClosedError):
        bus.emit_threadsafe(*ARGS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_forked_child_gets_a_clear_error_and_leaves_the_parent_alone(bus, emit):
    subscription = bus.subscribe()
    await emit(1)
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        try:
            for use in (lambda: bus.emit(*ARGS).send(None), lambda: bus.emit_nowait(*ARGS)):
                try:
                    use()
                except WrongLoopError as exc:
                    os.write(writing, b"forked;" if "forked" in str(exc) else b"?")
            del subscription
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 100) == b"forked;forked;"
    os.close(reading)
    os.close(writing)
    assert await emit(2) == 1
    assert take_ready(subscription) == [1, 2]


def test_a_program_that_ends_with_open_subscriptions_ends_quietly():
    program = """
import asyncio, edr.bus  # loaded before the loop, whose debug mode logs slow callbacks
async def main():
    bus = edr.Bus()
    bus.bind(edr.Binding(), print)
    subscription = edr.subscribe()
    task = asyncio.create_task(anext(subscription))
    await asyncio.sleep(0)
    await bus.emit("a", "1", "ok", "info", {})
    await edr.emit("a", "1", "critical", "info", {})
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


async def test_subscriptions_collected_in_another_thread_are_released(bus, emit):
    box = [bus.subscribe()]
    await emit(1)
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    await ticks()

    assert " 0 subscription" in repr(bus)
    assert bus.statistics().dropped == {"closed": 1}


def test_a_bus_works_in_a_fixture_whose_ends_run_in_different_tasks():
    async def scenario():
        bus = Bus()
        await asyncio.create_task(bus.__aenter__())
        seen = []
        bus.bind(ALL, lambda event: seen.append(event))
        await asyncio.create_task(bus.emit(*ARGS))
        await asyncio.create_task(bus.__aexit__(None, None, None))
        assert len(seen) == 1

    run(scenario)


@pytest.mark.parametrize("options", [{"stall_timeout": 0}, {"accounts_timeout": -1}])
def test_wrong_options_of_a_bus_are_refused(options):
    with pytest.raises(ValueError, match="must be more than 0 seconds"):
        edr.Bus(**options)


def test_an_emit_that_waits_when_its_loop_is_closed_tells_of_its_loss_and_no_more():
    program = """
import asyncio, gc, edr
gc.collect()
gc.disable()  # what is collected with what must not depend on when it last ran
loop = asyncio.new_event_loop()
bus = edr.Bus()
subscription = bus.subscribe(capacity=1)
async def emit():
    await bus.emit("a", "1", "ok", "info", {})
loop.run_until_complete(emit())
waiting = loop.create_task(emit())
loop.run_until_complete(asyncio.sleep(0))
waiting._log_destroy_pending = False
loop.close()
del waiting, subscription, bus
gc.collect()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "was collected (drain it before" in done.stderr
    assert "events left undone: 'subscription-1' 2" in done.stderr


# wait_closed


async def test_wait_closed_returns_after_drain_or_aclose_to_all_waiters():
    for end in (Bus.drain, Bus.aclose):
        bus = Bus()
        waiting = [asyncio.create_task(bus.wait_closed()) for _ in range(3)]  # before its first use
        await ticks()
        assert bus.loop is asyncio.get_running_loop()
        bus.subscribe()
        assert not any(task.done() for task in waiting)
        await end(bus)
        await asyncio.gather(*waiting)
        await bus.wait_closed()

        assert bus.closed


async def test_wait_closed_waits_while_the_bus_drains(bus, emit):
    subscription = bus.subscribe()
    await emit(1)
    waiting, draining = map(asyncio.create_task, (bus.wait_closed(), bus.drain()))
    await ticks()
    assert not waiting.done()
    subscription.take()
    await waiting

    assert await draining == {}


async def test_cancelled_wait_closed_changes_nothing(bus):
    first, second = (asyncio.create_task(bus.wait_closed()) for _ in range(2))
    await ticks()
    first.cancel()
    await ticks()
    assert (first.cancelled(), second.done(), bus.closed) == (True, False, False)
    await bus.aclose()
    await second


async def test_callback_that_waits_for_the_end_does_not_delay_a_drain(bus, emit):
    seen = []

    @bus.on
    async def waits(_event):
        await bus.wait_closed()
        seen.append(bus.closed)

    await emit(1)
    async with asyncio.timeout(5):
        assert await bus.drain() == {}
    await ticks()

    assert seen == [True]


def test_wait_closed_returns_when_the_loop_ends_first():
    bus, loop = Bus(), asyncio.new_event_loop()
    waiting = loop.create_task(bus.wait_closed())
    loop.run_until_complete(ticks())
    assert not waiting.done()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(waiting)
    loop.close()

    asyncio.run(bus.wait_closed())


def test_wait_closed_of_a_bus_whose_loop_was_just_closed_returns():
    bus, loop = Bus(), asyncio.new_event_loop()

    async def begin():
        bus.enter()

    loop.run_until_complete(begin())
    loop.close()  # without shutdown_asyncgens, so the bus is not notified

    asyncio.run(bus.wait_closed())


async def test_wait_closed_in_another_loop_is_refused(bus):
    bus.enter()

    def elsewhere():
        with pytest.raises(WrongLoopError):
            asyncio.run(bus.wait_closed())

    await asyncio.to_thread(elsewhere)
