"""The default bus of each loop, the module's functions, and Emitter."""

import asyncio
import gc
import os
import threading
from inspect import signature

import pytest
import trio
from support.consuming import take_ready, ticks
from support.forking import fork

import edr
from edr import Binding, Bus, Emitter, WrongLoopError
from edr.bus import BusOptions, override_default_bus, start_default_bus
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
    ):
        with pytest.raises(WrongLoopError, match="no event loop runs in this thread") as caught:
            use()
        assert "edr.run(main())" in str(caught.value)
        assert "@edr.on" in str(caught.value)


def test_under_trio_the_error_says_that_it_takes_asyncio(bus):
    async def use():
        with pytest.raises(WrongLoopError, match="this is trio, and a bus needs asyncio"):
            edr.subscribe()
        with pytest.raises(WrongLoopError, match="this is trio, and a bus needs asyncio"):
            await bus.emit(*ARGS)

    trio.run(use)


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


def test_a_handle_of_import_time_has_the_counts_of_all_loops():
    handle = edr.bind(ALL, lambda event: None, name="count")

    async def emit():
        await edr.emit(*ARGS)
        await edr.default_bus().join()
        return handle.statistics()

    assert handle.statistics().offered == 0
    counts = asyncio.run(emit())
    assert (handle.name, counts.name, counts.delivered) == ("count", "count", 1)


def test_binding_the_same_again_at_import_returns_the_same_handle():
    payload = {"a": 1}
    handle = edr.bind(ALL, print, payload)

    assert edr.bind([Binding()], print, payload) is handle
    assert edr.bind(ALL, print, {"a": 2}) is not handle
    assert "print" in repr(handle)


def test_wrong_arguments_at_import_are_refused_there():
    with pytest.raises(edr.InvalidBindingError):
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

    assert "no default bus runs" in caught[0]
    assert "edr.default_bus() in a coroutine" in caught[0]


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


def test_a_bare_on_serves_the_default_binding():
    seen = []

    async def main():
        @edr.on
        def bare(event):
            seen.append(event.body["n"])

        @edr.default_bus().on
        def of_the_bus(event):
            seen.append(event.body["n"])

        await edr.emit(*ARGS)
        await edr.default_bus().drain()
        return bare

    bare = asyncio.run(main())

    assert seen == [1, 1]
    assert bare.__name__ == "bare"
    with pytest.raises(edr.InvalidBindingError):
        edr.on("app")


def test_a_callback_bound_in_a_thread_serves_the_loops_that_run_already():
    seen = []

    async def main():
        edr.default_bus()
        handle = await asyncio.to_thread(edr.bind, edr.Binding(), seen.append)
        await asyncio.sleep(0)
        await edr.emit(*ARGS)
        await edr.default_bus().drain()
        handle.unbind()

    asyncio.run(main())

    assert len(seen) == 1


def test_loops_that_ended_leave_no_bus_behind():
    async def use():
        await edr.emit(*ARGS)
        await edr.default_bus().join()

    handle = edr.bind(edr.Binding(), lambda event: None)
    for _ in range(20):
        asyncio.run(use())
    gc.collect()
    kept = [each for each in gc.get_objects() if type(each).__name__ == "_DefaultBus"]
    handle.unbind()

    assert kept == []


def test_unbinding_after_the_loop_is_closed_is_no_error(caplog):
    bus = edr.Bus()

    async def use():
        handle = bus.bind(edr.Binding(), print)
        bus.enter()
        return handle

    loop = asyncio.new_event_loop()
    handle = loop.run_until_complete(use())
    loop.close()
    handle.unbind()

    assert bus.statistics().subscriptions == 0


@pytest.mark.parametrize("end", ["drain", "aclose"])
def test_module_functions_raise_after_the_default_bus_ended(end):
    async def main():
        await getattr(edr.default_bus(), end)()
        assert await edr.default_bus().drain() == {}
        assert edr.emit_nowait("app", "1", "ok", "info", {}) is False
        for call in (
            edr.subscribe,
            lambda: edr.on(print),
        ):
            with pytest.raises(
                edr.BusClosedError, match=r"call edr\.configure\(\) to start another"
            ):
                call()
        with pytest.raises(edr.BusClosedError, match=r"call edr\.configure\(\) to start another"):
            await edr.emit("app", "1", "ok", "info", {})

    asyncio.run(main())


def test_configure_starts_another_default_bus_after_its_end():
    async def main():
        first = edr.default_bus()
        with pytest.raises(RuntimeError, match="in use already"):
            edr.configure(node="second")
        await first.drain()
        edr.configure(node="second")
        assert edr.default_bus().node == "second"
        assert await edr.emit("app", "1", "ok", "info", {}) == 0

    try:
        asyncio.run(main())
    finally:
        edr.configure(node=None)


def test_new_loop_has_a_new_default_bus_after_a_drain():
    async def main():
        assert await edr.emit("app", "1", "ok", "info", {}) == 0
        await edr.default_bus().drain()

    asyncio.run(main())
    asyncio.run(main())


def test_a_default_bus_can_be_started_with_options_of_its_own():
    async def main():
        first = start_default_bus(node="first")
        assert edr.default_bus() is start_default_bus() is first
        with pytest.raises(RuntimeError, match="in use already"):
            start_default_bus(node="late")
        await first.aclose()
        second = start_default_bus()
        assert (first.node, second.closed) == ("first", False)
        assert edr.default_bus() is second
        assert second.node != "first"

    asyncio.run(main())


def test_a_default_bus_is_started_in_a_loop():
    with pytest.raises(edr.WrongLoopError):
        start_default_bus()


async def test_an_override_is_the_default_bus_that_is_started(bus):
    with override_default_bus(bus):
        assert start_default_bus(node="ignored") is bus


def test_the_default_bus_can_be_configured_before_its_first_use():
    async def use():
        return edr.default_bus().node

    async def too_late():
        edr.default_bus()
        edr.configure(node="late")

    try:
        edr.configure(node="configured")
        assert asyncio.run(use()) == "configured"
        with pytest.raises(RuntimeError, match="in use already"):
            asyncio.run(too_late())
        with pytest.raises(ValueError, match="stall_timeout"):
            edr.configure(stall_timeout=0)
        with pytest.raises(TypeError):
            edr.configure(stall_afer=1)
        assert asyncio.run(use()) == "configured"
    finally:
        edr.configure(node=None)


def test_configure_keeps_the_options_of_earlier_calls():
    async def use():
        return edr.default_bus().node

    try:
        edr.configure(node="configured")
        edr.configure(debug=True)
        assert asyncio.run(use()) == "configured"
        edr.configure(node=None)
        assert asyncio.run(use()) != "configured"
    finally:
        edr.configure(node=None, debug=False)


def test_the_typed_options_are_those_of_a_bus():
    assert set(BusOptions.__annotations__) == set(signature(edr.Bus).parameters)


async def test_ending_from_another_thread_names_the_call_to_use_instead(bus):
    subscription, handle = bus.subscribe(), bus.bind(edr.Binding(), print)
    for call, name in ((subscription.shutdown, "subscription.shutdown"), (handle.unbind, "unbind")):
        with pytest.raises(WrongLoopError, match=name):
            await asyncio.to_thread(call)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_thread_of_a_forked_child_does_not_take_the_parents_bus_for_a_second_one():
    edr.default_bus()
    reader, writer = os.pipe()
    child = fork()
    if child == 0:
        outcome = b"?"
        try:
            asyncio.events._set_running_loop(None)

            async def main():
                edr.default_bus()
                future = await asyncio.to_thread(edr.emit_threadsafe, *ARGS)
                return await asyncio.wrap_future(future)

            outcome = str(asyncio.run(main())).encode()
        except BaseException as exc:
            outcome = repr(exc).encode()
        finally:
            os.write(writer, outcome)
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"0"


def test_an_import_time_handle_is_unbound_from_any_thread_and_serves_no_bus_after():
    calls, ready, done = [], threading.Event(), threading.Event()

    async def main():
        bus = edr.default_bus()
        ready.set()
        await asyncio.to_thread(done.wait)
        await asyncio.sleep(0)
        taken = await edr.emit(*ARGS)
        await bus.join()
        return taken

    handle = edr.bind(ALL, calls.append)
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(asyncio.run(main())))
    thread.start()
    ready.wait(10)
    handle.unbind()
    handle.unbind()
    done.set()
    thread.join(10)

    assert (outcome, calls) == ([0], [])


# A bus that is the default one for a while


async def say_paused():
    await edr.emit("app", "1", "ok", "info", {"status": "paused"})


def test_what_was_bound_at_import_serves_the_bus_that_overrides_and_then_no_more():
    seen = []
    handle = edr.bind(edr.Binding(), lambda event: seen.append(event.app_name))

    async def main():
        await say_paused()
        await bus.join()

    bus = edr.Bus()
    try:
        with override_default_bus(bus):
            asyncio.run(main())
        assert seen == ["app"]
    finally:
        handle.unbind()
    assert bus.statistics().subscriptions == 0


def test_what_is_bound_during_an_override_serves_it_too():
    seen = []

    async def main():
        await say_paused()
        await bus.join()

    bus = edr.Bus()
    with override_default_bus(bus):
        handle = edr.bind(edr.Binding(), lambda event: seen.append(event.app_name))
        try:
            asyncio.run(main())
        finally:
            handle.unbind()

    assert seen == ["app"]


async def test_what_is_unbound_during_an_override_ends_there_too():
    bus = edr.Bus()
    handle = await asyncio.to_thread(edr.bind, ALL, print)
    with override_default_bus(bus):
        assert bus.statistics().subscriptions == 1
        handle.unbind()
        assert bus.statistics().subscriptions == 0
    await bus.aclose()


async def test_overrides_nest_and_the_default_bus_comes_back():
    own = edr.default_bus()
    outer, inner = edr.Bus(), edr.Bus()
    with override_default_bus(outer):
        with override_default_bus(inner):
            assert edr.default_bus() is inner
        assert edr.default_bus() is outer
    assert edr.default_bus() is own

    for bus in (own, outer, inner):
        await bus.aclose()


def test_a_second_loop_hears_that_the_bus_belongs_to_another():
    with override_default_bus(edr.Bus()):
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(say_paused())
            with pytest.raises(edr.WrongLoopError, match="another event loop"):
                asyncio.run(say_paused())
            loop.run_until_complete(edr.default_bus().aclose())
        finally:
            loop.close()


def test_a_thread_without_a_loop_reaches_the_bus_that_overrides():
    bus = edr.Bus()

    async def main():
        bus.enter()
        await asyncio.to_thread(
            lambda: edr.emit_threadsafe("thread", "1", "ok", "info", {}).result(5)
        )

    with override_default_bus(bus):
        asyncio.run(main())

    assert bus.statistics().emits == 1


def test_override_ends_while_its_loop_runs_in_another_thread():
    seen, ready, stop = [], threading.Event(), threading.Event()
    handle = edr.bind(edr.Binding(), seen.append)

    async def app():
        await say_paused()
        ready.set()
        await asyncio.to_thread(stop.wait, 5)
        await bus.aclose()

    bus = edr.Bus()
    thread = threading.Thread(target=lambda: asyncio.run(app()))
    try:
        with override_default_bus(bus):
            thread.start()
            assert ready.wait(5)
        with pytest.raises(edr.WrongLoopError, match="no event loop"):
            edr.default_bus()
    finally:
        stop.set()
        thread.join(5)
        handle.unbind()


def test_thread_emits_on_a_bus_that_overrides_once_a_loop_asked_for_it():
    async def lifespan():
        assert edr.default_bus() is bus
        return await asyncio.to_thread(edr.emit_nowait, "thread", "1", "ok", "info", {})

    bus = edr.Bus()
    with override_default_bus(bus):
        assert asyncio.run(lifespan())
    assert bus.statistics().emits == 1


def test_run_drains_the_bus_that_overrides():
    seen = []
    bus = edr.Bus()
    bus.bind(edr.Binding(), lambda event: seen.append(event.app_name))
    with override_default_bus(bus):
        edr.run(say_paused())

    assert seen == ["app"]
    assert bus.closed


async def test_module_functions_publish_as_the_methods_do(make_event):
    here, there = edr.subscribe(), edr.subscribe()

    taken = await edr.publish(make_event(body={"n": 1}), exclude=here)

    assert edr.publish_nowait(make_event(body={"n": 2}), exclude=here)
    assert (taken, len(here.take()), len(there.take())) == (1, 0, 2)
    with pytest.raises(ValueError, match="journal"):
        await edr.publish(make_event(), durable=True)
    await edr.default_bus().aclose()
