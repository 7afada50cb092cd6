"""The default bus of each loop, the module's functions, and Emitter."""

import asyncio
import gc
import threading

import pytest
from support.consuming import take_ready, ticks

import edr
from edr import Binding, Bus, Emitter, WrongLoopError
from edr.bus.default import _bound_at_import, _buses

ALL = Binding()
ARGS = ("app", "1", "ok", "info", {"n": 1})


@pytest.fixture(autouse=True)
def nothing_bound_at_import():
    yield
    for handle in list(_bound_at_import):
        handle.unbind()


async def test_the_functions_act_on_the_default_bus_of_the_loop(make_event):
    subscription = edr.subscribe(name="mine")

    assert await edr.emit(*ARGS) == 1
    assert await edr.publish(make_event(body={"n": 2})) == 1
    assert edr.emit_nowait("app", "1", "ok", "info", {"n": 3}) == 1
    assert await asyncio.wrap_future(edr.emit_threadsafe("app", "1", "ok", "info", {"n": 4})) == 1
    assert take_ready(subscription) == [1, 2, 3, 4]
    assert edr.default_bus() is edr.default_bus()
    await edr.default_bus().aclose()


async def test_async_for_over_subscribe_is_safe_without_a_with():
    async def consume():
        async for event in edr.subscribe(Binding(severity="critical")):
            return event

    consumer = asyncio.create_task(consume())
    await ticks()
    await edr.emit("app", "1", "critical", "info", {"n": 1})

    assert (await consumer).body == {"n": 1}
    assert edr.default_bus().statistics().subscriptions == 0


def test_each_loop_has_its_own_default_bus_and_old_ones_are_forgotten():
    async def main():
        await edr.emit(*ARGS)
        return edr.default_bus()

    buses = {id(bus): bus for bus in (asyncio.run(main()) for _ in range(3))}

    assert len(buses) == 3
    assert len([bus for loop, bus in _buses.items() if loop.is_closed()]) <= 1


def test_without_a_loop_a_clear_error():
    for use in (
        lambda: edr.emit(*ARGS),
        edr.subscribe,
        edr.default_bus,
        lambda: edr.emit_nowait(*ARGS),
    ):
        with pytest.raises(WrongLoopError, match="no event loop runs in this thread"):
            use()


def test_callbacks_bound_at_import_serve_each_loop_that_runs_later():
    seen = []

    @edr.on(ALL, name="audit")
    async def audit(event):
        seen.append(event.body["n"])

    handle = edr.bind(ALL, lambda event, payload: seen.append(payload), "payload")

    async def main():
        await edr.emit(*ARGS)
        await edr.default_bus().drain()

    asyncio.run(main())
    asyncio.run(main())
    assert sorted(seen, key=str) == [1, 1, "payload", "payload"]
    handle.unbind()
    handle.unbind()
    asyncio.run(main())
    assert seen.count("payload") == 2


def test_binding_the_same_again_at_import_returns_the_same_handle():
    handle = edr.bind(ALL, print, {"a": 1})

    assert edr.bind([Binding()], print, {"a": 1}) is handle
    assert edr.bind(ALL, print, {"a": 2}) is not handle
    assert "print" in repr(handle)


def test_wrong_arguments_at_import_are_refused_there():
    with pytest.raises(edr.InvalidBinding):
        edr.bind("app", print)
    with pytest.raises(ValueError, match="concurrency"):
        edr.bind(ALL, print, concurrency=0)
    gc.collect()

    assert _bound_at_import == []


async def test_a_thread_finds_the_one_default_bus_that_runs():
    subscription = edr.subscribe()
    await asyncio.to_thread(edr.emit_threadsafe, *ARGS)
    event = await anext(subscription)

    assert event.body == {"n": 1}


def test_a_thread_without_a_running_default_bus_gets_a_clear_error():
    caught = []

    def work():
        try:
            edr.emit_threadsafe(*ARGS)
        except WrongLoopError as exc:
            caught.append(str(exc))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert "0 default buses run" in caught[0]


async def test_an_emitter_says_who_it_is_once(bus):
    emitter = Emitter("callflow", "5.1", "acme", bus=bus)
    subscription = bus.subscribe()
    await emitter.emit("ok", "info", {"n": 1})
    emitter.emit_nowait("ok", "info", {"n": 2}, account_id="shop")
    await asyncio.wrap_future(emitter.emit_threadsafe("ok", "info", {"n": 3}))
    events = [await anext(subscription) for _ in range(3)]

    assert [event.account_id for event in events] == ["acme", "shop", "acme"]
    assert {(event.app_name, event.app_version) for event in events} == {("callflow", "5.1")}
    assert repr(emitter) == "Emitter('callflow', '5.1', 'acme')"


async def test_an_emitter_made_at_import_uses_the_default_bus_of_the_loop():
    emitter, subscription = Emitter("app", "1"), edr.subscribe()
    await emitter.emit("ok", "info", {"n": 1})

    assert take_ready(subscription) == [1]


async def test_two_buses_know_nothing_of_each_other(bus):
    other = Bus()
    here, there = bus.subscribe(), other.subscribe()
    await bus.emit(*ARGS)

    assert take_ready(here) == [1]
    assert take_ready(there) == []
