"""Events of other threads: none is stuck, and no thread waits for ever."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress

import pytest
from support.consuming import take_ready, ticks

import edr
from edr.bus import inbox

ARGS = ("app", "1", "ok", "info", {"n": 1})

needs_eager_tasks = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are 3.12's")


def run_program(program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )


def test_asyncio_run_returns_while_a_thread_waits_for_its_event():
    done = run_program("""
import asyncio, time, edr
async def main():
    bus = edr.default_bus()
    print(asyncio.get_running_loop().run_in_executor(None, emit, bus) and "started")
    await asyncio.sleep(0)
    time.sleep(0.05)
def emit(bus):
    time.sleep(0.01)
    print(bus.emit_threadsafe("app", "1", "ok", "info", {}).result())
asyncio.run(main())
""")

    assert done.stdout.split() == ["started", "0"]


async def test_a_pump_that_was_cancelled_is_made_anew(bus):
    subscription = bus.subscribe()
    first = await asyncio.to_thread(bus.emit_threadsafe, *ARGS)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if "emit" not in repr(task) and "test" not in repr(task):
            task.cancel()
    await ticks()
    second = await asyncio.to_thread(bus.emit_threadsafe, *ARGS)
    await ticks()

    assert (first.result(0), second.result(0)) == (1, 1)
    assert subscription.statistics().pending == 2
    assert len(subscription.take()) == 2
    assert await bus.drain() == {}


def test_a_pump_that_is_cancelled_before_its_first_step_loses_nothing():
    async def scenario():
        bus = edr.Bus()
        bus.enter()
        subscription = bus.subscribe()
        result = bus.emit_threadsafe(*ARGS)
        await asyncio.sleep(0)  # the pump exists, and has not run
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await ticks()
        assert result.result(0) == 1
        await subscription.aclose()
        await bus.aclose()

    asyncio.run(scenario())


@needs_eager_tasks
def test_under_eager_tasks_each_event_of_a_thread_arrives():
    async def scenario():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        async with edr.Bus() as bus:
            seen = []
            bus.bind(edr.Binding(), lambda event: seen.append(event.body["n"]))
            for _ in range(3):
                future = await asyncio.to_thread(bus.emit_threadsafe, *ARGS)
                assert await asyncio.wait_for(asyncio.wrap_future(future), 5) == 1
        assert seen == [1, 1, 1]

    asyncio.run(scenario())


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer signal")
def test_a_signal_handler_may_emit_while_its_thread_emits():
    loop, buses, came = asyncio.new_event_loop(), [], []

    async def serve():
        bus = edr.Bus()
        bus.enter()
        buses.append(bus)
        await stop.wait()
        await bus.drain()

    stop = asyncio.Event()
    server = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    server.start()
    while not buses:
        time.sleep(0.001)  # another thread's first step
    before = signal.signal(signal.SIGALRM, lambda *_: came.append(buses[0].emit_threadsafe(*ARGS)))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        futures = [buses[0].emit_threadsafe(*ARGS) for _ in range(5000)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert {future.result(10) for future in [*futures, *came]} == {0}
    assert came
    loop.call_soon_threadsafe(stop.set)
    server.join(10)
    loop.close()


def test_a_thread_gives_up_a_loop_that_does_not_run(monkeypatch):
    monkeypatch.setattr(inbox, "MAX_ON_THE_WAY", 3)
    monkeypatch.setattr(inbox, "POLL", 0.001)
    monkeypatch.setattr(inbox, "PATIENCE", 0.003)
    loop, bus = asyncio.new_event_loop(), edr.Bus()

    async def use():
        bus.enter()

    async def drain():
        return await bus.drain()

    loop.run_until_complete(use())
    outcomes = []

    def emit():
        for _ in range(4):
            try:
                outcomes.append(bus.emit_threadsafe(*ARGS))
            except edr.WrongLoopError as exc:
                outcomes.append(exc)

    thread = threading.Thread(target=emit)
    thread.start()
    thread.join(10)
    assert "has not run for" in str(outcomes.pop())
    assert loop.run_until_complete(drain()) == {}
    assert [future.result(0) for future in outcomes] == [0, 0, 0]
    assert not bus._inbox._open
    loop.close()


def test_the_end_of_the_loop_frees_who_waits_for_an_event():
    loop, bus = asyncio.new_event_loop(), edr.Bus()

    async def use():
        bus.enter()
        return bus.emit_threadsafe(*ARGS)

    future = loop.run_until_complete(use())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    assert future.done()
    with pytest.raises(edr.BusClosedError):
        bus.emit_threadsafe(*ARGS)


async def test_a_future_that_two_threads_would_settle_is_settled_once(bus, monkeypatch):
    class Overtaken(Future):
        """Another thread closes the inbox between the decision to settle this one and the act."""

        def set_exception(self, exception):
            other = threading.Thread(target=bus._inbox.close)
            other.start()
            other.join(10)
            super().set_exception(exception)

    monkeypatch.setattr(inbox, "Future", Overtaken)
    bus.enter()
    futures = [bus.emit_threadsafe(*ARGS) for _ in range(3)]
    await bus.aclose()

    assert [type(future.exception(0)) for future in futures] == [edr.BusClosedError] * 3


async def test_what_is_handed_over_while_the_bus_closes_is_refused_and_starts_no_task(
    bus, monkeypatch
):
    wake, tasks = bus.enter().call_soon_threadsafe, asyncio.all_tasks()

    def close_first(callback, *args):
        bus._inbox.close()
        return wake(callback, *args)

    monkeypatch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", close_first)
    future = bus.emit_threadsafe(*ARGS)
    bus._inbox.start()

    assert isinstance(future.exception(0), edr.BusClosedError)
    assert bus._inbox.is_empty
    assert asyncio.all_tasks() == tasks


async def test_a_future_of_a_thread_cannot_be_cancelled_so_its_event_arrives(bus):
    subscription = bus.subscribe()
    future = bus.emit_threadsafe(*ARGS)
    assert not future.cancel()
    await ticks()

    assert future.result(0) == 1
    assert take_ready(subscription) == [1]


@pytest.mark.slow
def test_a_bus_closes_whatever_threads_hand_over_meanwhile():
    def emit(bus):
        with suppress(edr.BusClosedError):
            while True:
                futures.append(bus.emit_threadsafe(*ARGS))

    async def close_one(number):
        bus = edr.Bus()
        held = [bus.subscribe(capacity=1), bus.subscribe()]
        bus.bind(edr.Binding(), lambda _: asyncio.sleep(0))
        bus.enter()
        threads = [threading.Thread(target=emit, args=(bus,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        await ticks(number % 4)
        await bus.aclose()
        for thread in threads:
            thread.join(10)
        await ticks()
        assert bus.statistics().pending == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert all(future.done() for future in futures)
        futures.clear()
        assert held

    async def scenario():
        for number in range(250):
            await close_one(number)

    futures = []
    asyncio.run(scenario())


async def test_emit_anywhere_takes_events_of_any_thread_and_never_waits(bus, make_event):
    seen = bus.subscribe()
    assert bus.emit_nowait(*ARGS)
    assert await asyncio.to_thread(bus.emit_nowait, *ARGS)
    assert bus.publish_nowait(make_event(body={"n": 2}))
    assert await asyncio.to_thread(bus.publish_nowait, make_event(body={"n": 3}))
    future = await asyncio.to_thread(bus.publish_threadsafe, make_event(body={"n": 4}))
    await ticks()

    assert future.result(0) == 1
    # No order is promised between the threads' events and the loop's own.
    assert sorted(take_ready(seen)) == [1, 1, 2, 3, 4]
    assert bus.statistics().refused == 0


async def test_what_is_refused_is_counted_and_said(bus, monkeypatch, caplog):
    bus.enter()
    monkeypatch.setattr(inbox, "MAX_ON_THE_WAY", 3)
    outcomes = []
    thread = threading.Thread(
        target=lambda: outcomes.extend(bus.emit_nowait(*ARGS) for _ in range(5))
    )
    thread.start()
    thread.join()  # the loop is held, so nothing is taken out meanwhile

    assert outcomes == [True, True, True, False, False]
    assert bus.statistics().refused == 2
    assert "refused an event: too many events of threads are on their way" in caplog.text
    await bus.aclose()
    assert not await asyncio.to_thread(bus.emit_nowait, *ARGS)
    assert bus.statistics().refused == 3


def test_before_any_loop_there_is_nowhere_to_emit_to(make_event):
    bus = edr.Bus()
    for emit in (bus.emit_nowait, bus.emit_threadsafe):
        with pytest.raises(edr.WrongLoopError, match="has no event loop yet"):
            emit(*ARGS)
    for publish in (bus.publish_nowait, bus.publish_threadsafe):
        with pytest.raises(edr.InvalidEventError):
            publish({"no": "event"})
        with pytest.raises(edr.WrongLoopError, match="has no event loop yet"):
            publish(make_event())
