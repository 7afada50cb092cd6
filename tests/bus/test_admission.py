"""A drain ends: after ``drain_grace`` seconds the bus accepts nothing more, of anybody."""

import asyncio
import os
import signal

import pytest
from support.shuffled_loop import run

import edr
from edr.bus import Bus
from edr.errors import BusClosedError
from edr.records import Binding, Event

CALL = ("call", "1", "ok", "info")


def answers(bus, app, other, log):
    """Bind a callback that answers each event of ``app`` by one of ``other``, for ever."""

    async def answer(event):
        await asyncio.sleep(1)
        log.append(event.body["n"])
        await bus.emit(other, "1", "ok", "info", {"n": event.body["n"] + 1})

    bus.bind(Binding(app_name=app), answer, name=app)


def test_callbacks_that_answer_each_other_do_not_keep_a_drain(caplog):
    async def main():
        log = []
        bus = Bus(drain_grace=10)
        answers(bus, "ping", "pong", log)
        answers(bus, "pong", "ping", log)
        await bus.emit("ping", "1", "ok", "info", {"n": 1})
        loop = asyncio.get_running_loop()
        began = loop.time()
        left = await bus.drain()

        assert left == {}
        assert 10 <= loop.time() - began <= 12
        assert log == list(range(1, len(log) + 1))  # the queued ones were processed
        assert bus.statistics().refused == 1
        assert bus.statistics().callback_errors == 1

    run(main)
    assert "has drained for 10 s, and accepts no further event" in caplog.text
    assert "refused an event: it drains for longer than its drain_grace" in caplog.text


def test_consumer_that_emits_to_itself_does_not_keep_a_drain():
    async def main():
        bus = Bus(drain_grace=10)
        events = bus.subscribe()

        async def consume():
            async for event in events:
                await asyncio.sleep(1)
                try:
                    await bus.emit(*CALL, event.body)
                except BusClosedError:
                    return "refused"
            return "ended"

        consuming = asyncio.create_task(consume())
        await bus.emit(*CALL, {})
        assert await bus.drain() == {}
        assert await consuming == "refused"

    run(main)


@pytest.mark.parametrize(
    "emit",
    [
        lambda bus, event: bus.emit_nowait(*CALL, {}),
        lambda bus, event: bus.publish_nowait(event),
        lambda bus, event: bus.emit_threadsafe(*CALL, {}),
    ],
)
def test_every_emit_after_the_grace_is_refused_and_counted(emit):
    async def main():
        bus = Bus(drain_grace=1)
        refused = []

        async def late(event):
            await asyncio.sleep(2)
            try:
                accepted = emit(bus, event)
            except BusClosedError:
                accepted = False
            refused.append(not accepted)
            assert bus.emit_nowait(*CALL, {}) is False

        bus.bind(Binding(), late)
        await bus.emit(*CALL, {})
        assert await bus.drain() == {}
        assert refused == [True]
        assert bus.statistics().refused == 2

    run(main)


def test_task_of_a_callback_that_has_returned_may_not_emit():
    async def main():
        bus = Bus()
        tasks = []

        async def heartbeat():
            while True:
                await bus.emit("beat", "1", "ok", "info", {})
                await asyncio.sleep(0.01)

        async def begin(_event):
            tasks.append(asyncio.create_task(heartbeat()))

        async def slow(_event):
            await asyncio.sleep(0.02)

        bus.bind(Binding(app_name="call"), begin)
        bus.bind(Binding(app_name="beat"), slow)
        await bus.emit(*CALL, {})
        await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await bus.drain() == {}
        assert loop.time() - began < 1
        await asyncio.wait(tasks, timeout=1)
        assert isinstance(tasks[0].exception(), BusClosedError)

    run(main)


def test_task_of_a_callback_that_runs_may_emit_in_a_drain():
    async def main():
        bus = Bus()
        seen = []

        async def begin(_event):
            await asyncio.sleep(1)
            await asyncio.create_task(bus.emit("other", "1", "ok", "info", {}))

        bus.bind(Binding(app_name="call"), begin)
        bus.bind(Binding(app_name="other"), seen.append)
        await bus.emit(*CALL, {})
        await bus.drain()
        assert len(seen) == 1

    run(main)


def test_event_that_a_thread_handed_over_before_a_drain_is_processed():
    async def main():
        bus = Bus()
        bus.enter()
        seen = []
        bus.bind(Binding(), seen.append)
        event = Event(app_name="a", app_version="1", severity="ok", verbosity="info", body={})
        published = bus.publish_threadsafe(event)
        assert await bus.drain() == {}
        assert (seen, published.result()) == ([event], 1)

    run(main)


def test_program_exits_with_75_when_its_drain_refused_events():
    async def main():
        bus = Bus(drain_grace=0.01)

        async def late(_event):
            await asyncio.sleep(0.1)
            await bus.emit(*CALL, {})

        bus.bind(Binding(), late)
        await bus.emit(*CALL, {})
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    with pytest.raises(SystemExit) as exit_:
        edr.run(main())
    assert exit_.value.code == 75


@pytest.mark.parametrize(
    ("grace", "error"), [("5", TypeError), (-1, ValueError), (True, TypeError)]
)
def test_drain_grace_must_be_a_number_of_seconds(grace, error):
    with pytest.raises(error, match="drain_grace"):
        Bus(drain_grace=grace)
