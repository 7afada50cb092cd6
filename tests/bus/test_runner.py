"""What a callback raises, and where it runs."""

import asyncio
import contextlib
import contextvars
import threading

import pytest
from support.consuming import ticks

import edr
from edr import Binding, Bus

ALL = Binding()
REQUEST = contextvars.ContextVar("request", default=None)


class Failed(BaseException):
    """What a test framework raises for an assertion of its own."""


@pytest.mark.parametrize(
    "fault", [Failed("no"), BaseExceptionGroup("several", [Failed("a")]), GeneratorExit()]
)
async def test_what_is_no_exception_is_counted_and_told_too(bus, emit, caplog, fault):
    seen, errors = [], []

    def fails(event):
        seen.append(event.body["n"])
        if event.body["n"] == 0:
            raise fault

    handle = bus.bind(ALL, fails, on_error=lambda exc, event: errors.append(exc))
    await emit(0)
    await emit(1)
    await bus.join()

    assert (seen, errors) == ([0, 1], [fault])
    assert handle.statistics().failed == bus.statistics().callback_errors == 1
    assert "failed on event" in caplog.text


async def test_each_kind_of_failure_has_its_line(bus, emit, caplog):
    faults = [ValueError("a"), ValueError("b"), KeyError("c"), ValueError("d")]

    def fails(event):
        raise faults[event.body["n"]]

    handle = bus.bind(ALL, fails, name="fails")
    for n in range(4):
        await emit(n)
    await bus.join()

    assert [record.exc_info[0] for record in caplog.records] == [ValueError, KeyError]
    assert handle.statistics().failed == 4


async def test_statistics_tell_what_became_of_delivered_events(bus, emit):
    gate = asyncio.Event()

    async def callback(event):
        if event.body["n"] < 2:
            raise OSError
        await gate.wait()

    handle = bus.bind(ALL, callback, retries=2, backoff=0)
    for n in range(4):
        await emit(n)
    await ticks(50)

    statistics = handle.statistics()
    assert (statistics.failed, statistics.retried, statistics.in_flight) == (2, 4, 1)
    assert (statistics.delivered, statistics.pending) == (3, 1)
    gate.set()


async def test_statistics_have_what_a_callback_last_failed_with(bus, emit):
    class UnreadableError(Exception):
        def __str__(self):
            raise AttributeError("no text")

    faults = {1: ValueError("no such account"), 2: asyncio.CancelledError(), 3: UnreadableError()}

    def fails(event):
        if event.body["n"] in faults:
            raise faults[event.body["n"]]

    handle = bus.bind(ALL, fails)
    told = [handle.statistics().last_error]
    for n in (1, 2, 3, 4):
        await emit(n)
        await bus.join()
        told.append(handle.statistics().last_error)

    assert told == [
        None,
        "ValueError: no such account",
        "CancelledError",
        "UnreadableError",
        "UnreadableError",
    ]
    (info,) = bus.subscriptions()
    assert info.statistics.last_error == "UnreadableError"


async def test_errors_after_unbind_are_in_the_count_of_the_bus(bus, emit):
    async def unbinds_and_fails(event):
        handle.unbind()
        raise OSError

    handle = bus.bind(ALL, unbinds_and_fails)
    await emit(1)
    await ticks()

    assert bus.statistics().callback_errors == 1


async def test_callbacks_do_not_run_in_the_context_of_who_bound_or_emitted(bus, emit):
    seen = []
    REQUEST.set("the one that bound")
    bus.bind(ALL, lambda event: seen.append(REQUEST.get()))
    await emit(1)
    await bus.join()

    assert seen == [None]


async def test_a_callback_its_tasks_and_its_threads_know_the_current_event(bus, emit):
    seen = []

    def note():
        seen.append((edr.current_event().body["n"], threading.current_thread().name))

    async def callback(event):
        note()
        await asyncio.create_task(asyncio.to_thread(note))

    bus.bind(ALL, callback)
    await emit(1)
    await emit(2)
    await bus.join()

    assert [n for n, _ in seen] == [1, 1, 2, 2]
    assert edr.current_event() is None


async def test_a_call_that_makes_something_else_of_its_cancellation_ends_too(bus, emit):
    async def stubborn(event):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError from None

    bus.bind(ALL, stubborn)
    await emit(1)
    await emit(2)
    await ticks()
    await bus.aclose()

    assert bus.statistics().callback_errors == 1


async def test_callbacks_cancelled_from_outside_leave_a_line(bus, emit, caplog):
    bus.bind(ALL, lambda event: asyncio.Event().wait(), name="hangs")
    for n in range(3):
        await emit(n)
    await ticks()
    for task in asyncio.all_tasks():
        if task.get_name() == "edr:hangs":
            task.cancel()
    await ticks()

    assert "were cancelled" in caplog.text
    assert "with events left undone: 'hangs' 3" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 2.0}, "concurrency must be a whole number, got 2.0"),
        ({"retries": 2.0}, "retries must be a whole number, got 2.0"),
        ({"retries": True}, "retries must be a whole number, got True"),
        ({"capacity": 2.5}, "capacity must be a whole number, got 2.5"),
        ({"timeout": float("nan")}, "timeout must be more than 0 seconds, got nan"),
        ({"timeout": "5"}, "timeout must be a number of seconds, got '5'"),
        ({"backoff": float("inf")}, "backoff must be finite, got inf"),
        (
            {"overflow": "bloc"},
            "overflow must be one of block, drop_oldest, drop_newest, close, got",
        ),
        ({"overflow": "drop-oldest"}, "got 'drop-oldest'; did you mean 'drop_oldest'?"),
        ({"on_error": "print"}, "on_error must be callable, got 'print'"),
    ],
)
async def test_a_wrong_option_is_refused_where_it_is_given(bus, options, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        bus.bind(ALL, print, **options)

    assert message in str(caught.value)
    assert bus.statistics().subscriptions == 0


async def test_an_option_that_is_unknown_is_told_with_the_one_that_was_meant(bus):
    with pytest.raises(TypeError, match="subscribe has no argument 'capasity'.*'capacity'"):
        bus.subscribe(capasity=3)
    with pytest.raises(TypeError, match="subscribe has no argument 'severty'.*'severity'"):
        bus.subscribe(severty="ok")
    with pytest.raises(TypeError, match="on has no argument 'retires'.*'retries'"):
        bus.on(app_name="billing", retires=3)
    with pytest.raises(TypeError, match="configure has no argument 'acounts'.*'accounts'"):
        edr.configure(acounts=None)

    assert bus.statistics().subscriptions == 0


async def test_what_a_call_would_not_run_is_no_callback(bus):
    async def generates(event):
        yield event

    async def awaited(exc, event):
        pass

    with pytest.raises(TypeError, match="a call would not run it"):
        bus.bind(ALL, generates)
    with pytest.raises(TypeError, match="on_error must be a plain function"):
        bus.bind(ALL, print, on_error=awaited)
    with pytest.raises(TypeError, match="on_error must be a plain function"):
        Bus(on_error=awaited)
    assert bus.statistics().subscriptions == 0


@pytest.mark.parametrize(
    "options",
    [
        {"stall_timeout": float("nan")},
        {"accounts_timeout": float("inf")},
        {"accounts_ttl": None},
        {"accounts_cache": -1},
        {"accounts_cache": 1.5},
        {"max_body": 1},
        {"max_body": 1e6},
        {"max_body": None},
        {"accounts": object()},
        {"accounts": {"child": "parent"}},
    ],
)
def test_wrong_options_of_a_bus_are_refused(options):
    with pytest.raises((ValueError, TypeError)):
        Bus(**options)


async def test_a_callback_that_cancels_itself_twice_gets_the_next_event(bus, emit):
    seen = []

    async def cancels(event):
        seen.append(event.body["n"])
        asyncio.current_task().cancel()
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    bus.bind(ALL, cancels)
    for n in range(3):
        await emit(n)
    await bus.join()

    assert seen == [0, 1, 2]


TENANT = contextvars.ContextVar("tenant", default=None)


@pytest.mark.parametrize("kind", ["plain", "async", "awaitable", "future"])
async def test_context_variable_of_one_event_is_not_set_for_the_next(bus, emit, kind):
    seen = []

    def plain(event):
        seen.append(TENANT.get())
        TENANT.set(event.body["n"])

    async def asynchronous(event):
        plain(event)
        await asyncio.sleep(0)
        assert TENANT.get() == event.body["n"]

    class Awaitable:
        def __init__(self, event):
            self.event = event

        def __await__(self):
            plain(self.event)
            yield from asyncio.sleep(0).__await__()
            assert TENANT.get() == self.event.body["n"]

    def future(event):
        plain(event)
        return asyncio.ensure_future(asyncio.sleep(0))

    kinds = {"plain": plain, "async": asynchronous, "awaitable": Awaitable, "future": future}
    bus.bind(ALL, kinds[kind], name="callback")
    await emit(1)
    await emit(2)
    await bus.join()

    assert seen == [None, None]
    assert bus.statistics().callback_errors == 0


async def test_retry_and_on_error_see_the_context_of_their_event(bus, emit):
    seen = []

    def fails(event):
        seen.append(TENANT.get())
        TENANT.set(event.body["n"])
        raise ValueError

    def on_error(_exc, event):
        seen.append((TENANT.get(), edr.current_event() is event))

    bus.bind(ALL, fails, retries=1, backoff=0, on_error=on_error)
    await emit(1)
    await emit(2)
    await bus.join()

    assert seen == [None, 1, (1, True), None, 2, (2, True)]


async def test_task_of_a_callback_inherits_the_context_of_its_event(bus, emit):
    seen = []

    async def child():
        seen.append((TENANT.get(), edr.current_event().body["n"]))

    async def callback(event):
        TENANT.set(event.body["n"])
        await asyncio.create_task(child())

    bus.bind(ALL, callback, concurrency=2)
    await emit(1)
    await emit(2)
    await bus.join()

    assert sorted(seen) == [(1, 1), (2, 2)]


async def test_callback_that_is_timed_out_sees_its_cancellation(bus, emit):
    seen = []

    async def slow(event):
        TENANT.set(event.body["n"])
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(TENANT.get())
            raise

    bus.bind(ALL, slow, timeout=0.001)
    await emit(1)
    await bus.join()

    assert seen == [1]
    assert "TimeoutError" in bus.subscriptions()[0].statistics.last_error


async def test_callback_fails_when_it_cancels_its_own_task(bus, emit):
    handle = bus.bind(ALL, lambda event: asyncio.current_task().cancel())
    await emit(1)
    await emit(2)
    await bus.join()

    statistics = handle.statistics()
    assert (statistics.delivered, statistics.failed) == (2, 2)
    assert statistics.last_error == "CancelledError"


async def test_worker_ends_when_its_callback_swallows_a_cancellation(bus, emit, caplog):
    async def swallows(event):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    bus.bind(ALL, swallows, name="swallows")
    for n in range(3):
        await emit(n)
    await ticks()
    for task in asyncio.all_tasks():
        if task.get_name() == "edr:swallows":
            task.cancel()
    await ticks()

    assert bus.statistics().subscriptions == 0
    assert "with events left undone: 'swallows' 2" in caplog.text
