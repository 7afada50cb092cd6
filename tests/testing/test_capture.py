import asyncio
import threading

import edr
from edr.testing import capture, override_default_bus


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
        await edr.default_bus().join()

    try:
        with capture():
            asyncio.run(main("a"))
            asyncio.run(main("b"))
    finally:
        handle.unbind()

    assert seen == ["a", "b"]


class App:
    """An application whose loop runs in another thread, as behind a test client."""

    def __init__(self):
        self.seen = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(5)

    async def _start(self):
        edr.bind(edr.Binding(), self.seen.append)

    async def _stop(self):
        await edr.default_bus().drain()

    def __enter__(self):
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_):
        self.run(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


async def say_and_settle(app="app"):
    await say(app)
    await edr.default_bus().join()


def test_capture_records_a_loop_that_runs_in_another_thread():
    with App() as app:
        with capture() as captured:
            app.run(say_and_settle())
        app.run(say_and_settle("later"))

    captured.assert_emitted(times=1)
    assert [event.app_name for event in app.seen] == ["app", "later"]


def test_capture_leaves_import_time_callbacks_bound():
    seen = []
    handle = edr.bind(edr.Binding(), lambda event: seen.append(event.app_name))
    try:
        with App() as app:
            with capture() as captured:
                app.run(say_and_settle("a"))
            app.run(say_and_settle("b"))
    finally:
        handle.unbind()

    captured.assert_emitted(times=1)
    assert seen == ["a", "b"]


def test_capture_records_loops_of_several_threads():
    with App() as one, capture() as captured, App() as other:
        one.run(say("one"))
        other.run(say("other"))

    assert {event.app_name for event in captured.events} == {"one", "other"}


def test_capture_records_a_bus_that_overrides_the_default_one():
    bus = edr.Bus()
    with override_default_bus(bus), capture() as captured:
        asyncio.run(say())

    captured.assert_emitted(times=1)


def test_capture_takes_a_bus_of_another_thread():
    with App() as app:
        bus = app.run(own_bus())
        with capture(bus) as captured:
            app.run(bus.emit("app", "1", "ok", "info", {}))
        app.run(bus.emit("later", "1", "ok", "info", {}))
        app.run(bus.aclose())

    captured.assert_emitted(times=1)


async def own_bus():
    bus = edr.Bus()
    bus.enter()
    return bus


def test_capture_takes_a_bus_whose_loop_pauses():
    with asyncio.Runner() as runner:
        bus = runner.run(own_bus())
        with capture(bus) as captured:
            runner.run(bus.emit("app", "1", "ok", "info", {}))
        runner.run(bus.aclose())

    captured.assert_emitted(times=1)
