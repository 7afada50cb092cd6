"""No code of the program breaks the bus: log handlers, callbacks, resolvers, watchers."""

import asyncio

import pytest
from support.consuming import ticks
from support.shuffled_loop import run

from edr.bus import Bus
from edr.errors import BusClosedError
from edr.records import Binding

ARGS = ("app", "1", "ok", "info", {"n": 1})
ALL = Binding()


async def emit(bus, *numbers):
    for n in numbers:
        await bus.emit("app", "1", "ok", "info", {"n": n})


def test_emits_are_released_when_the_line_of_a_stall_fails(failing_log):
    async def main():
        bus = Bus(stall_timeout=1)
        bus_events = bus.subscribe(capacity=1)
        await emit(bus, 1, 2, 3)  # the second waits until the subscription stalls
        assert bus_events.statistics().dropped == {"stalled": 2}
        assert bus_events.statistics().stalled
        await bus.aclose()

    run(main)
    assert any("is stalled" in line for line in failing_log)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "close", "block"])
async def test_emits_go_on_when_the_line_of_a_loss_fails(failing_log, overflow):
    bus = Bus()
    bus.subscribe(capacity=1, overflow=overflow, name="full")
    other = bus.subscribe(overflow="drop_oldest")
    for n in range(3):
        bus.emit_nowait("app", "1", "ok", "info", {"n": n})

    assert [event.body["n"] for event in other.take()] == [0, 1, 2]
    assert failing_log
    await bus.aclose()


async def test_callback_goes_on_when_the_line_of_its_failure_fails(failing_log):
    bus, seen = Bus(), []

    def callback(event):
        seen.append(event.body["n"])
        raise ValueError

    bus.bind(ALL, callback)
    await emit(bus, 1, 2)
    await bus.drain()

    assert seen == [1, 2]
    assert any("failed on event" in line for line in failing_log)


async def test_bus_closes_when_the_line_of_its_end_fails(failing_log):
    bus = Bus()
    events = bus.subscribe()
    await emit(bus, 1)
    assert await bus.drain(timeout=0) == {events.name: 1}

    assert any("left undone" in line for line in failing_log)
    with pytest.raises(BusClosedError):
        await emit(bus, 2)


async def test_event_is_emitted_when_the_line_of_a_failed_look_up_fails(failing_log, fault):
    class Fails:
        def ancestors(self, _account_id):
            raise fault

    bus = Bus(accounts=Fails())
    events = bus.subscribe()
    await bus.emit(*ARGS, "acme")

    assert len(events.take()) == 1
    assert failing_log
    await bus.aclose()


async def test_refusal_is_counted_when_its_line_fails(failing_log):
    bus = Bus()
    bus.enter()
    await bus.drain()

    assert bus.emit_nowait(*ARGS) is False
    assert bus.statistics().refused == 1
    assert failing_log


# What other code raises


async def test_callback_outlives_an_on_error_that_fails(fault, caplog):
    def on_error(_exc, _event):
        raise fault

    bus, seen = Bus(), []

    @bus.on(on_error=on_error, name="callback")
    def callback(event):
        seen.append(event.body["n"])
        raise ValueError

    await emit(bus, 1, 2)
    await bus.drain()

    assert seen == [1, 2]
    assert "on_error of callback 'callback' failed" in caplog.text


class Resolver:
    def __init__(self, fault, kind):
        self.fault = fault
        self.kind = kind

    def ancestors(self, _account_id):
        if self.kind == "plain":
            raise self.fault
        return self._asked()

    async def _asked(self):
        await asyncio.sleep(0)
        raise self.fault


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_event_is_emitted_when_its_resolver_fails(fault, kind):
    bus = Bus(accounts=Resolver(fault, kind))
    events = bus.subscribe()
    bus.enter()
    assert await bus.emit(*ARGS, "one") == 1
    threaded = await asyncio.to_thread(bus.emit_threadsafe, *ARGS, "two")
    assert await asyncio.wrap_future(threaded) == 1

    assert [event.account_tree for event in events.take()] == [(), ()]
    assert bus.statistics().account_failures == 2
    assert await bus.drain() == {}


async def test_queue_is_registered_when_a_watcher_fails(fault, caplog):
    def on_change(_spot, _wanted):
        raise fault

    bus = Bus()
    bus.watch_interest(on_change)
    events = bus.subscribe()
    await emit(bus, 1)

    assert len(events.take()) == 1
    events.shutdown()
    assert bus.statistics().subscriptions == 0
    assert "on_change failed" in caplog.text
    await bus.aclose()


async def test_thread_events_go_on_when_a_callback_of_their_future_fails(fault):
    def fails(_future):
        raise fault

    bus = Bus()
    events = bus.subscribe()
    bus.enter()
    for _ in range(3):
        bus.emit_threadsafe(*ARGS).add_done_callback(fails)
    await ticks(10)

    assert len(events.take()) == 3
    await bus.aclose()


async def test_close_settles_every_future_when_a_callback_of_one_fails(fault):
    def fails(_future):
        raise fault

    bus = Bus()
    bus.enter()
    futures = [bus.emit_threadsafe(*ARGS) for _ in range(3)]
    for future in futures:
        future.add_done_callback(fails)
    await bus.aclose()

    assert all(isinstance(future.exception(0), BusClosedError) for future in futures)


async def test_bus_ends_when_its_services_fail(fault):
    class Fails:
        async def drain(self, timeout=None):
            raise fault

        async def aclose(self):
            raise fault

    if isinstance(fault, asyncio.CancelledError):
        pytest.skip("a cancellation of the service's task")
    bus = Bus()
    bus.add_service(Fails(), "service")
    assert await bus.drain() == {}
