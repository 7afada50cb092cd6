"""Callbacks in the bus's own tasks: order, errors, retries, cancellation, unbinding."""

import asyncio
import functools
import inspect
import logging
import sys
from unittest.mock import MagicMock

import pytest
from support.consuming import is_balanced, ticks
from support.shuffled_loop import run

import edr
from edr import Binding, Bus, InvalidBindingError

ALL = Binding()


def emit_to(bus):
    async def emit(n):
        return await bus.emit("app", "1", "ok", "info", {"n": n})

    return emit


async def test_a_callback_gets_the_event_and_its_payload_in_order(bus, emit):
    seen = []
    bus.bind([ALL, Binding(app_name="app")], lambda e, p: seen.append((p, e.body["n"])), "load")

    async def without(event):
        await asyncio.sleep(0)
        seen.append(event.body["n"])

    bus.bind(ALL, without)
    bus.bind(ALL, lambda event, payload: seen.append(payload), None)
    for n in range(3):
        await emit(n)
    await bus.drain()

    assert [item for item in seen if isinstance(item, tuple)] == [("load", n) for n in range(3)]
    assert [item for item in seen if isinstance(item, int)] == [0, 1, 2]
    assert seen.count(None) == 3


@pytest.mark.parametrize("decorator", [lambda bus: bus.on, lambda bus: bus.on()])
async def test_on_without_a_binding_receives_every_event(bus, decorator):
    seen = []

    @decorator(bus)
    def collect(event):
        seen.append(event.verbosity)

    for verbosity in edr.Verbosity:
        await bus.emit("app", "1", "ok", verbosity, {})
    await bus.drain()

    assert seen == list(edr.Verbosity)


async def test_on_binds_and_returns_the_function(bus, emit):
    seen = []

    @bus.on(Binding(severity="critical"), ALL, name="audit")
    async def audit(event):
        seen.append(event.body["n"])

    await emit(1)
    await emit(2, severity="critical")
    assert [runner.name for runner in bus._handles] == ["audit"]
    await bus.drain()

    assert seen == [1, 2]
    assert inspect.iscoroutinefunction(audit)


async def test_binding_the_same_again_returns_the_same_handle(bus, emit):
    def take(*arguments):
        pass

    handle = bus.bind(ALL, take)

    assert bus.bind([Binding()], take) is handle
    assert bus.bind(ALL, take, "ab") is bus.bind(ALL, take, str(b"ab", "ascii"))
    assert bus.bind(ALL, take, 1) is not bus.bind(ALL, take, True)
    assert bus.bind(Binding(app_name="x"), take) is not handle
    assert await emit(1) == 4


async def test_payloads_that_are_equal_are_two(bus, emit):
    first, second = [], []

    def take(event, seen):
        seen.append(event.body["n"])

    assert bus.bind(ALL, take, first) is not bus.bind(ALL, take, second)
    assert bus.bind(ALL, take, first) is bus.bind(ALL, take, first)
    await emit(1)
    await bus.join()
    assert (first, second) == ([1], [1])


async def test_unbind_ends_a_binding_whose_payload_changed_its_hash(bus, emit):
    class Payload:
        number = 1

        def __hash__(self):
            return self.number

    seen, payload = [], Payload()

    def take(event, _payload):
        seen.append(event.body["n"])

    handle = bus.bind(ALL, take, payload)
    payload.number = 2
    handle.unbind()
    assert await emit(1) == 0
    bus.bind(ALL, take, payload)
    assert await emit(2) == 1
    await bus.join()
    assert seen == [2]


async def test_methods_are_told_apart_by_their_objects(bus):
    class Taking:
        async def take(self, event):
            pass

    one, other = Taking(), Taking()

    assert bus.bind(ALL, one.take) is bus.bind(ALL, one.take)
    assert bus.bind(ALL, one.take) is not bus.bind(ALL, other.take)


async def test_payloads_that_cannot_be_compared_are_different(bus):
    class Array:
        __hash__ = None

        def __eq__(self, other):
            raise ValueError("ambiguous")

    one = Array()

    assert bus.bind(ALL, print, one) is bus.bind(ALL, print, one)
    assert bus.bind(ALL, print, one) is not bus.bind(ALL, print, Array())


def nothing():
    pass


def two(event, payload):
    pass


class Taker:
    async def take(self):
        pass

    def __call__(self):
        pass


@pytest.mark.parametrize(
    "callback", [nothing, two, Taker().take, Taker(), functools.partial(two, payload=1, event=2)]
)
async def test_callback_that_cannot_take_an_event_is_refused(bus, callback):
    with pytest.raises(TypeError, match=r"a callback must accept \(event\), got .*\("):
        bus.bind(ALL, callback)
    with pytest.raises(TypeError, match="a callback must accept"):
        bus.on()(callback)
    assert bus.statistics().subscriptions == 0


async def test_callback_that_cannot_take_a_payload_is_refused(bus):
    with pytest.raises(TypeError, match=r"must accept \(event, payload\), got .*<lambda>\(event\)"):
        bus.bind(ALL, lambda event: None, None)


def test_callback_is_refused_at_import_time_too():
    with pytest.raises(TypeError, match="a callback must accept"):
        edr.on()(nothing)


def decorated(function):
    @functools.wraps(function)
    def wrapper(event):
        return function()

    return wrapper


@pytest.mark.parametrize(
    "callback",
    [
        [].append,
        print,
        MagicMock(),
        functools.partial(two, payload=1),
        decorated(nothing),
    ],
)
async def test_callback_is_bound_if_it_may_take_an_event(bus, callback):
    assert bus.bind(ALL, callback).callback is callback


@pytest.mark.parametrize("options", [{"on_error": nothing}, {"on_error": lambda exception: None}])
async def test_on_error_that_cannot_take_both_is_refused(bus, options):
    with pytest.raises(TypeError, match=r"on_error must accept \(exception, event\)"):
        bus.bind(ALL, print, **options)
    with pytest.raises(TypeError, match=r"on_error must accept \(exception, event\)"):
        Bus(**options)


@pytest.mark.parametrize("fault", [RuntimeError("boom"), SystemExit(3), asyncio.CancelledError()])
async def test_a_callback_that_fails_is_counted_and_the_next_event_is_handled(
    bus, emit, caplog, fault
):
    seen, errors = [], []

    async def fails(event):
        seen.append(event.body["n"])
        if event.body["n"] == 1:
            raise fault

    handle = bus.bind(ALL, fails, on_error=lambda exc, event: errors.append((exc, event.body["n"])))
    for n in range(3):
        await emit(n)
    await bus.drain()

    assert seen == [0, 1, 2]
    assert errors == [(fault, 1)]
    assert handle.statistics().failed == 1
    assert bus.statistics().callback_errors == 1
    assert handle.statistics().delivered == 3
    assert "fails' failed on event" in caplog.text


async def test_a_callback_that_exits_does_not_end_the_service(bus, emit):
    async def leaves(event):
        sys.exit("bye")

    handle = bus.bind(ALL, leaves)
    bus.bind(ALL, lambda event, status: sys.exit(status), 1)
    await emit(1)
    await emit(2)
    await bus.drain()

    assert handle.statistics().failed == 2
    assert bus.statistics().callback_errors == 4


async def test_a_callback_that_cancels_its_own_task_does_not_end_the_subscription(bus, emit):
    seen = []

    async def cancels(event):
        if event.body["n"] == 0:
            asyncio.current_task().cancel()
        await asyncio.sleep(0)
        seen.append(event.body["n"])

    handle = bus.bind(ALL, cancels)
    for n in range(3):
        await emit(n)
    await bus.drain()

    assert seen == [1, 2]
    assert handle.statistics().failed == 1


async def test_a_callback_that_awaits_what_is_cancelled_fails_like_any_other(bus, emit):
    async def waits(event):
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    handle = bus.bind(ALL, waits)
    await emit(1)
    await emit(2)
    await bus.drain()

    assert handle.statistics().failed == 2


async def test_a_callback_may_use_timeouts_and_task_groups_itself(bus, emit):
    caught = []

    async def guarded(event):
        try:
            async with asyncio.timeout(0), asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())
        except TimeoutError:
            caught.append(event.body["n"])

    handle = bus.bind(ALL, guarded)
    await emit(1)
    await emit(2)
    await bus.drain()

    assert caught == [1, 2]
    assert handle.statistics().failed == 0


def test_a_callback_that_hangs_is_timed_out_and_retried_with_backoff():
    async def scenario():
        async with Bus() as bus:
            loop, calls = asyncio.get_running_loop(), []

            async def hangs(event):
                calls.append(loop.time())
                await asyncio.Event().wait()

            handle = bus.bind(ALL, hangs, timeout=10, retries=2, backoff=1)
            await emit_to(bus)(0)
            await bus.drain()
            assert calls == pytest.approx([0, 11, 23], abs=0.1)
            assert handle.statistics().failed == 1

    run(scenario)


def test_a_retry_that_succeeds_is_no_error():
    async def scenario():
        async with Bus() as bus:
            calls = []

            def flaky(event):
                calls.append(event.body["n"])
                if len(calls) < 3:
                    raise OSError

            handle = bus.bind(ALL, flaky, retries=5)
            await emit_to(bus)(0)
            await emit_to(bus)(1)
            await bus.drain()
            assert calls == [0, 0, 0, 1]
            assert handle.statistics().failed == 0

    run(scenario)


async def test_concurrency_runs_so_many_calls_at_a_time(bus, emit):
    running, peak, gate = 0, 0, asyncio.Event()

    async def work(event):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await gate.wait()
        running -= 1

    bus.bind(ALL, work, concurrency=3)
    for n in range(5):
        await emit(n)
    await ticks(10)
    gate.set()
    await bus.drain()

    assert peak == 3


async def test_a_pool_of_workers_may_emit_to_itself(bus, emit):
    seen = []

    async def again(event):
        seen.append(event.body["n"])
        if event.body["n"] < 10:
            await emit(event.body["n"] + 1)
            await emit(100)

    bus.bind(ALL, again, capacity=1, concurrency=4)
    await emit(0)
    await ticks(200)
    await bus.drain()

    assert sorted(n for n in seen if n < 100) == list(range(11))


async def test_unbind_ends_it_now_and_counts_what_was_queued(bus, emit):
    seen = []
    handle = bus.bind(ALL, lambda event: seen.append(event))
    await emit(1)
    handle.unbind()
    handle.unbind()
    await ticks()

    assert seen == []
    assert await emit(2) == 0
    assert bus.statistics().dropped == {"closed": 1}
    assert bus.bind(ALL, print) is not handle


async def test_a_callback_can_unbind_itself(bus, emit):
    seen = []

    async def once(event):
        seen.append(event.body["n"])
        handle.unbind()
        await asyncio.sleep(0)
        seen.append("finished")

    handle = bus.bind(ALL, once)
    await emit(1)
    await emit(2)
    await ticks()

    assert seen == [1, "finished"]
    assert is_balanced(bus.statistics())


async def test_a_callback_can_close_the_bus(emit):
    bus = Bus()

    async def closes(event):
        await bus.aclose()

    bus.bind(ALL, closes)
    await bus.emit("app", "1", "ok", "info", {})
    await ticks()

    assert "closed" in repr(bus)


async def test_bind_during_an_emit_that_waits_sees_only_later_events(bus, emit):
    full, seen = bus.subscribe(capacity=1), []
    await emit(1)
    waiting = asyncio.create_task(emit(2))
    await ticks()
    bus.bind(ALL, lambda event: seen.append(event.body["n"]))
    await anext(full)
    await waiting
    await emit(3) if full.statistics().pending == 0 else full.shutdown()
    await emit(4)
    await bus.drain(timeout=0)

    assert 2 not in seen


async def test_a_callback_that_overflows_under_close_is_reported(bus, emit, caplog):
    bus.bind(ALL, print, name="strict", overflow="close", capacity=1)
    for n in range(5):
        bus.emit_nowait("app", "1", "ok", "info", {"n": n})
    await ticks()

    assert "callback ended: subscription 'strict' overflowed" in caplog.text
    assert list(bus._handles) == []


async def test_an_error_handler_that_fails_is_logged_too(bus, emit, caplog):
    def bad_handler(exc, event):
        raise KeyError("handler")

    handle = bus.bind(ALL, lambda event: 1 / 0, on_error=bad_handler)
    await emit(1)
    await bus.drain()

    assert handle.statistics().failed == 1
    assert "on_error of callback" in caplog.text


async def test_the_buses_on_error_serves_callbacks_without_their_own():
    errors = []
    async with Bus(on_error=lambda exc, event: errors.append(type(exc))) as bus:
        bus.bind(ALL, lambda event: 1 / 0)
        await emit_to(bus)(1)

    assert errors == [ZeroDivisionError]


async def test_a_storm_of_errors_is_logged_a_few_times_and_counted_each_time(bus, emit, caplog):
    handle = bus.bind(ALL, lambda event: 1 / 0)
    with caplog.at_level(logging.ERROR, "edr"):
        for n in range(500):
            await emit(n)
        await bus.drain()

    assert handle.statistics().failed == 500
    assert 1 <= len(caplog.records) <= 10


@pytest.mark.parametrize(
    "options",
    [{"concurrency": 0}, {"timeout": 0}, {"retries": -1}, {"backoff": -1}, {"capacity": 0}],
)
async def test_wrong_options_are_refused_and_nothing_is_bound(bus, options):
    with pytest.raises(ValueError):
        bus.bind(ALL, print, **options)
    with pytest.raises(TypeError):
        bus.bind(ALL, "print")
    for bindings in (["app"], []):
        with pytest.raises(InvalidBindingError):
            bus.bind(bindings, print)

    assert bus.statistics().subscriptions == 0
    assert list(bus._handles) == []


async def test_a_worker_cancelled_from_outside_closes_its_subscription(bus, emit):
    bus.bind(ALL, print)
    await ticks()
    next(iter(bus._handles)).workers()[0].cancel()
    await ticks()

    assert bus.statistics().subscriptions == 0
    assert await emit(1) == 0


async def test_a_bind_that_is_refused_leaves_nothing_half_done(bus):
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        bus.bind(ALL, print, capacity=0)

    assert list(bus._handles) == []


async def test_a_callback_is_named_by_what_its_reader_would_call_it(bus):
    class Billing:
        def book(self, event):
            pass

    def page(event):
        pass

    names = [bus.bind(ALL, each).name for each in (page, Billing().book, print)]

    assert names == ["page", "Billing.book", "print"]
