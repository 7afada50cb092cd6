import asyncio

import edr
from edr.testing import capture


async def say(app="app"):
    await edr.emit(app, "1", "ok", "info", {"status": "paused"})


async def test_in_a_loop_it_records_the_default_bus():
    with capture() as captured:
        await say()

    captured.assert_emitted(body={"status": ["paused"]}, times=1)
    await edr.default_bus().aclose()


def test_outside_of_a_loop_it_records_the_loop_that_runs_inside():
    with capture() as captured:
        asyncio.run(say())
    asyncio.run(say("later"))

    captured.assert_emitted(times=1)


def test_loops_that_run_one_after_the_other_are_recorded_together():
    with capture() as captured:
        for app in ("a", "b"):
            asyncio.run(say(app))
        loop = asyncio.new_event_loop()
        loop.run_until_complete(say("c"))
        loop.close()
        asyncio.run(say("d"))

    assert [event.app_name for event in captured.events] == ["a", "b", "c", "d"]


def test_what_was_bound_at_import_serves_each_of_them():
    seen = []
    handle = edr.bind(edr.Binding(), lambda event: seen.append(event.app_name))

    async def main(app):
        await say(app)
        await edr.default_bus().settled()

    try:
        with capture():
            asyncio.run(main("a"))
            asyncio.run(main("b"))
    finally:
        handle.unbind()

    assert seen == ["a", "b"]
