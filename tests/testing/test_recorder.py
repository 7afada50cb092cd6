import asyncio

import pytest

import edr
from edr.testing import RecordingBus, capture

PAUSED = {"app_name": "acdc", "severity": "warning", "body": {"status": ["paused"]}}


@pytest.fixture
async def bus():
    bus = RecordingBus()
    yield bus
    await bus.aclose()


async def fault_of(bus, *args, **wanted):
    with pytest.raises(AssertionError) as caught:
        bus.assert_emitted(*args, **wanted)
    return str(caught.value)


async def test_an_assertion_that_fails_shows_what_came_nearest_and_why_it_does_not_match(bus):
    await bus.emit("acdc", "1", "ok", "info", {"status": "wrapup", "wait": 12})

    assert await fault_of(bus, **PAUSED, times=1) == (
        '0 event(s) match {"app_name":"acdc","severity":"warning","body":{"status":["paused"]}}, '
        "wanted 1; 1 emitted. Nearest:\n"
        "  ok info acdc {'status': 'wrapup', 'wait': 12}\n"
        '      severity: wanted ["warning", "critical"], found "ok"\n'
        '      body.status: wanted ["paused"], found "wrapup"'
    )


async def test_the_nearest_are_those_with_the_fewest_reasons_and_three_at_the_most(bus):
    for app in ("a", "b", "c"):
        await bus.emit(app, "1", "ok", "info", {"status": "wrapup"})
    await bus.emit("acdc", "1", "ok", "info", {"status": "paused"}, account_id="acme")
    lines = (await fault_of(bus, **PAUSED)).splitlines()

    assert lines[0].endswith("wanted 1 or more; 4 emitted. Nearest:")
    assert lines[1:3] == [
        "  ok info acdc of acme {'status': 'paused'}",
        '      severity: wanted ["warning", "critical"], found "ok"',
    ]
    assert [line.split()[2] for line in lines if not line.startswith("     ")][1:] == [
        "acdc",
        "a",
        "b",
    ]


async def test_where_nothing_was_emitted_the_message_says_so(bus):
    fault = await fault_of(bus, app_name="acdc")

    assert fault == '0 event(s) match {"app_name":"acdc"}, wanted 1 or more; 0 emitted.'


async def test_too_many_are_shown(bus):
    for n in range(3):
        await bus.emit("acdc", "1", "ok", "info", {"n": n})

    assert await fault_of(bus, app_name="acdc", times=1) == (
        '3 event(s) match {"app_name":"acdc"}, wanted 1; 3 emitted. They are:\n'
        "  ok info acdc {'n': 0}\n  ok info acdc {'n': 1}\n  ok info acdc {'n': 2}"
    )
    with pytest.raises(AssertionError, match="3 event.s. match {}, wanted 0"):
        bus.assert_not_emitted()


async def test_a_long_body_is_cut(bus):
    await bus.emit("acdc", "1", "ok", "info", {"text": "x" * 10_000})

    assert len(await fault_of(bus, app_name="other")) < 500


async def test_what_matches_is_returned_in_its_order(bus):
    for n in range(3):
        await bus.emit("acdc", "1", "ok", "info", {"n": n})

    found = bus.assert_emitted(body={"n": [{"numeric": [">", 0]}]}, times=2)
    assert [event.body["n"] for event in found] == [1, 2]
    bus.assert_not_emitted(app_name="other")


async def test_by_fields_every_verbosity_is_meant_and_by_a_binding_what_it_says(bus):
    await bus.emit("acdc", "1", "ok", "trace", {})

    bus.assert_emitted(app_name="acdc")
    bus.assert_not_emitted(edr.Binding(app_name="acdc"))
    bus.assert_not_emitted(verbosity="info")


async def test_a_binding_and_fields_at_once_or_a_wrong_field_are_refused(bus):
    with pytest.raises(TypeError, match="not both"):
        bus.assert_emitted(edr.Binding(), app_name="a")
    with pytest.raises(edr.InvalidBindingError, match="app_nam"):
        bus.assert_not_emitted(app_nam="a")


async def test_a_recorder_changes_no_count_and_no_return(bus):
    assert await bus.emit("acdc", "1", "ok", "info", {}) == 0
    assert bus.emit_nowait("acdc", "1", "ok", "info", {}) is True

    statistics = bus.statistics()
    assert (statistics.subscriptions, statistics.offered, statistics.emits) == (0, 0, 2)
    assert len(bus.events) == 2


async def test_events_of_threads_are_recorded_too(bus):
    bus.enter()
    await asyncio.to_thread(lambda: bus.emit_threadsafe("a", "1", "ok", "info", {}).result(5))

    bus.assert_emitted(app_name="a", times=1)


async def test_a_cleared_recorder_tells_what_comes_next(bus):
    await bus.emit("a", "1", "ok", "info", {})
    bus.recorder.clear()
    await bus.emit("b", "1", "ok", "info", {})

    assert [event.app_name for event in bus.events] == ["b"]


async def test_capture_ends_with_its_block(bus):
    with capture(bus) as captured:
        await bus.emit("a", "1", "ok", "info", {})
    await bus.emit("b", "1", "ok", "info", {})

    assert [event.app_name for event in captured.events] == ["a"]
