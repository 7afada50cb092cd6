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
