import asyncio
import threading
from contextvars import ContextVar

import pytest

import edr
from edr.bus import set_tracer

span = ContextVar("span", default=0)


def traceparent(number):
    return f"00-{number:032x}-{number:016x}-01"


class FakeTracer:
    """Its current span is a number in a context variable."""

    def __init__(self):
        self.calls = []

    def traceparent(self):
        return traceparent(span.get()) if span.get() else None

    def wrap(self, name, callback):
        def traced(event):
            self.calls.append((name, event.traceparent))
            return callback(event)

        return traced


@pytest.fixture
def tracer(bus):
    fake = FakeTracer()
    set_tracer(bus, fake)
    return fake


def emit(bus, n=1, **options):
    return bus.emit("app", "1", "ok", "info", {"n": n}, **options)


async def test_event_has_the_trace_of_its_emit(bus, tracer):
    events = bus.subscribe()
    span.set(1)
    await emit(bus)
    bus.emit_nowait("app", "1", "ok", "info", {})
    span.set(0)
    await emit(bus)

    assert [event.traceparent for event in events.take()] == [*2 * [traceparent(1)], None]


async def test_traced_event_is_as_a_validated_one(bus, tracer):
    events = bus.subscribe()
    span.set(1)
    await emit(bus)
    (event,) = events.take()

    assert edr.Event.from_json(event.to_json()) == event
    assert event.traceparent == traceparent(1)


async def test_event_of_a_thread_has_the_trace_of_the_thread(bus, tracer):
    events = bus.subscribe()
    bus.enter()
    span.set(1)

    def in_thread():
        span.set(2)
        bus.emit_threadsafe("app", "1", "ok", "info", {}).result(5)

    await asyncio.gather(asyncio.to_thread(in_thread), emit(bus, 0))
    found = {event.body.get("n"): event.traceparent for event in events.take()}
    assert found == {0: traceparent(1), None: traceparent(2)}
    assert threading.current_thread() is threading.main_thread()


async def test_event_after_an_account_look_up_has_the_trace_of_its_emit():
    class Accounts:
        async def ancestors(self, account_id):
            await asyncio.sleep(0)
            return ("root",)

    async with edr.Bus(accounts=Accounts()) as bus:
        set_tracer(bus, FakeTracer())
        events = bus.subscribe()
        span.set(3)
        await emit(bus, account_id="acme")
        (event,) = events.take()

    assert (event.traceparent, event.account_tree) == (traceparent(3), ("root",))


async def test_published_event_keeps_its_trace(bus, tracer, make_event):
    events = bus.subscribe()
    span.set(1)
    await bus.publish(make_event(traceparent=traceparent(7)))
    await bus.publish(make_event())

    assert [event.traceparent for event in events.take()] == [traceparent(7), None]


async def test_callbacks_of_before_and_after_are_wrapped(bus):
    seen = []
    first = bus.bind(edr.Binding(), seen.append, name="first")
    tracer = FakeTracer()
    set_tracer(bus, tracer)
    bus.bind(edr.Binding(app_name="app"), seen.append, name="second")
    span.set(1)
    await emit(bus)
    await bus.join()

    assert sorted(tracer.calls) == [("first", traceparent(1)), ("second", traceparent(1))]
    assert len(seen) == 2
    assert first.callback == seen.append


async def test_without_its_tracer_a_bus_is_as_before(bus, tracer):
    seen = []
    events = bus.subscribe()
    bus.bind(edr.Binding(), seen.append, name="callback")
    span.set(1)
    await emit(bus)
    (traced,) = events.take()  # join waits for this subscription too
    await bus.join()
    set_tracer(bus, None)
    await emit(bus)
    (untraced,) = events.take()
    await bus.join()

    assert (traced.traceparent, untraced.traceparent) == (traceparent(1), None)
    assert len(tracer.calls) == 1
    assert len(seen) == 2
