import asyncio

import pytest

import edr
from edr.testing import RecordingBus, override_default_bus


@pytest.fixture
async def bus():
    bus = RecordingBus()
    yield bus
    await bus.aclose()


async def test_an_open_subscription_is_named_with_the_line_that_made_it(bus):
    held = bus.subscribe(name="screen")
    await bus.emit("a", "1", "ok", "info", {})
    (leak,) = bus.leaks()

    assert leak.startswith("subscription 'screen', made in ")
    assert "test_an_open_subscription_is_named_with_the_line_that_made_it" in leak
    assert __file__ in leak
    assert leak.endswith("; 1 event(s) pending")
    held.shutdown()


async def test_the_line_is_the_users_also_through_the_functions_of_the_module(bus):
    with override_default_bus(bus):
        held = edr.subscribe()
    (leak,) = bus.leaks()

    assert __file__ in leak
    await held.aclose()


async def test_what_is_closed_or_held_by_nobody_or_bound_is_no_leak(bus):
    closed = bus.subscribe()
    closed.shutdown()
    cycle = [bus.subscribe()]
    cycle.append(cycle)
    del cycle
    bus.bind(edr.Binding(), print)
    async with bus.subscribe():
        assert len(bus.leaks()) == 1

    assert bus.leaks() == []


async def test_a_bad_body_is_refused_also_where_nobody_wants_it():
    bus = RecordingBus(node="n")
    with pytest.raises(edr.InvalidEventError, match="body.at"):
        await bus.emit("a", "1", "ok", "info", {"at": object()})
    await bus.aclose()


def test_it_closes_from_outside_of_a_loop_that_stands_still():
    bus = RecordingBus()
    with asyncio.Runner() as runner:
        runner.run(bus.emit("a", "1", "ok", "info", {}))
        bus.close_from_outside()
        assert bus.closed


async def test_it_closes_from_a_thread_beside_a_loop_that_runs():
    bus = RecordingBus()
    bus.enter()
    await asyncio.to_thread(bus.close_from_outside)

    assert bus.closed


async def test_within_its_loop_it_says_what_to_do_instead(bus):
    bus.enter()
    with pytest.raises(RuntimeError, match="await bus.aclose"):
        bus.close_from_outside()


def test_it_has_nothing_to_close_where_no_loop_has_used_it_or_the_loop_is_closed():
    RecordingBus().close_from_outside()
    bus = RecordingBus()
    asyncio.run(bus.emit("a", "1", "ok", "info", {}))
    bus.close_from_outside()
