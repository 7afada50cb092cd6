"""Taps see each event as it is emitted, and no fault of theirs reaches the emit."""

import asyncio
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from edr.bus import Bus, parts_of
from edr.records import Binding, Event, Verbosity

WARNINGS = Binding(severity="warning")


class Recorder:
    def __init__(self, error=None):
        self.seen = []
        self.error = error

    def offer(self, event):
        self.seen.append(event.body["n"])
        if self.error is not None:
            raise self.error

    offer_nowait = offer


class Counts(NamedTuple):
    failed: int


class Journal:
    bindings = (Binding(),)

    async def open(self):
        pass

    def submit(self, _event):
        stored = asyncio.get_running_loop().create_future()
        stored.set_result(1)
        return stored

    def append_nowait(self, _event):
        return True

    def statistics(self):
        return Counts(failed=0)

    async def drain(self, timeout=None):
        return 0

    async def aclose(self):
        pass


def an_event(n):
    return Event(app_name="app", app_version="1", severity="ok", verbosity="info", body={"n": n})


async def test_a_tap_without_a_binding_receives_every_event(bus):
    tap = Recorder()
    bus.add_tap(tap)
    for verbosity in Verbosity:
        await bus.emit("app", "1", "ok", verbosity, {"n": verbosity.rank})

    assert tap.seen == [0, 1, 2, 3, 4, 5]


async def emit(bus, n, severity="ok", **options):
    return await bus.emit("app", "1", severity, "info", {"n": n}, **options)


@contextmanager
def tapped(bus, *bindings, **options):
    tap = Recorder()
    bus.add_tap(tap, *bindings, **options)
    yield tap
    bus.remove_tap(tap)


async def test_every_kind_of_emit_reaches_taps():
    class Slow:
        async def ancestors(self, _account_id):
            await asyncio.sleep(0)
            return ["root"]

    bus = Bus(journal=Journal(), accounts=Slow())
    bus.enter()
    with tapped(bus) as tap:
        await emit(bus, 1)
        await emit(bus, 2, durable=True)
        await emit(bus, 3, account_id="a")
        await emit(bus, 4, account_id="b", durable=True)
        bus.emit_nowait("app", "1", "ok", "info", {"n": 5})
        bus.emit_nowait("app", "1", "ok", "info", {"n": 6})
        await asyncio.wrap_future(bus.emit_threadsafe("app", "1", "ok", "info", {"n": 7}))
        await bus.publish(an_event(8))
        bus.publish_nowait(an_event(9))
        parts_of(bus).publisher.publish_soon(an_event(10))
        bus.publish_nowait(an_event(11))
        await asyncio.wrap_future(bus.publish_threadsafe(an_event(12)))
        await asyncio.to_thread(bus.emit_nowait, "app", "1", "ok", "info", {"n": 13})
        await bus.join()

    assert tap.seen == [*range(1, 14)]
    await bus.aclose()


async def test_every_emit_of_a_durable_bus_reaches_taps():
    bus = Bus(journal=Journal(), durable=True)
    with tapped(bus) as tap:
        await emit(bus, 1)

    assert tap.seen == [1]
    await bus.aclose()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), asyncio.CancelledError()])
async def test_tap_that_raises_is_counted_and_logged(error, caplog):
    bus = Bus()
    tap = Recorder(error)
    bus.add_tap(tap)
    events = bus.subscribe()

    assert await emit(bus, 1) == 1
    assert bus.emit_nowait("app", "1", "ok", "info", {"n": 2}) == 1
    assert [event.body["n"] for event in events.take()] == [1, 2]
    assert bus.statistics().tap_errors == 2
    assert "tap Recorder failed on event" in caplog.text
    bus.remove_tap(tap)
    assert bus.statistics().tap_errors == 2


async def test_adding_a_tap_again_replaces_its_bindings():
    bus = Bus()
    with tapped(bus) as tap:
        bus.add_tap(tap, WARNINGS)
        await emit(bus, 1)
        await emit(bus, 2, "warning")
        bus.add_tap(tap, Binding(), WARNINGS)
        await emit(bus, 3, "warning")
    await emit(bus, 4, "warning")

    assert tap.seen == [2, 3]


async def test_taps_that_are_equal_are_two():
    class Equal(Recorder):
        __hash__ = None

        def __eq__(self, other):
            return True

    bus = Bus()
    first, second = Equal(), Equal()
    bus.add_tap(first)
    bus.add_tap(second)
    bus.remove_tap(first)
    await emit(bus, 1)

    assert (first.seen, second.seen) == ([], [1])


async def test_tap_without_a_binding_gets_every_event():
    bus = Bus()
    with tapped(bus) as tap:
        await bus.emit("app", "1", "ok", "trace", {"n": 1})

    assert tap.seen == [1]


def interest_of(bus):
    wanted = []

    def on_change(spot, is_wanted):
        wanted.append((str(spot.app_name), is_wanted))

    bus.watch_interest(on_change)
    return wanted


async def test_tap_is_no_interest_unless_it_says_so():
    bus = Bus()
    with tapped(bus, Binding(app_name="before"), wanted=True):
        wanted = interest_of(bus)
        with tapped(bus, Binding(app_name="quiet")):
            pass
        with tapped(bus, Binding(app_name="a"), wanted=True) as tap:
            bus.add_tap(tap, Binding(app_name="b"), wanted=True)
            bus.add_tap(tap, Binding(app_name="b"))

    assert wanted == [
        ("before", True),
        ("a", True),
        ("b", True),
        ("a", False),
        ("b", False),
        ("before", False),
    ]
