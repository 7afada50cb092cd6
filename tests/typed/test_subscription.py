import asyncio
from typing import Literal

import pytest

import edr
from edr.typed import Body, subscribe


class Paused(Body, app="acdc"):
    status: Literal["paused"] = "paused"
    agent_id: str


class Resumed(Body, app="acdc", verbosity="debug"):
    status: Literal["resumed"] = "resumed"
    agent_id: str


async def test_events_come_with_their_bodies_and_others_are_not_offered(bus):
    async with subscribe(Paused, Resumed, bus=bus) as events:
        await Resumed(agent_id="a").emit(bus=bus)
        await bus.emit("acdc", "1", "ok", "info", {"status": "wrapup"})
        await Paused(agent_id="b").emit("acme", bus=bus)
        first, second = await anext(events), await anext(events)

        assert (first[1], second[1]) == (Resumed(agent_id="a"), Paused(agent_id="b"))
        assert second[0].account_id == "acme"
        assert events.statistics().offered == 2


async def test_a_body_that_does_not_fit_is_counted_given_to_on_error_and_no_crash(bus):
    faults = []
    events = subscribe(Paused, bus=bus, on_error=lambda exc, event: faults.append((exc, event)))
    await bus.emit("acdc", "1", "ok", "info", {"status": "paused"})
    await Paused(agent_id="b").emit(bus=bus)
    _, body = await anext(events)

    assert body.agent_id == "b"
    assert events.invalid == 1
    ((fault, event),) = faults
    assert fault.path == "agent_id"
    assert event.body == {"status": "paused"}
    await events.aclose()


async def test_without_on_error_the_first_is_logged(bus, caplog):
    async with subscribe(Paused, bus=bus) as events:
        for _ in range(3):
            await bus.emit("acdc", "1", "ok", "info", {"status": "paused"})
        events.shutdown()
        assert [pair async for pair in events] == []

        assert events.invalid == 3
    (message,) = caplog.messages
    assert "agent_id: Field required" in message


async def test_a_cancelled_call_has_removed_nothing(bus):
    events = subscribe(Paused, bus=bus)
    waiting = asyncio.create_task(anext(events))
    await asyncio.sleep(0)
    waiting.cancel()
    await Paused(agent_id="a").emit(bus=bus)
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert (await anext(events))[1].agent_id == "a"
    await events.aclose()


async def test_the_options_are_those_of_a_subscription(bus):
    async with subscribe(Paused, bus=bus, name="screen", capacity=1, overflow="drop_newest") as e:
        for n in range(3):
            await Paused(agent_id=str(n)).emit(bus=bus)

        assert e.statistics().name == "screen"
        assert e.statistics().dropped == {"overflow": 2}
        assert "Paused" in repr(e)


async def test_the_default_bus_serves_where_none_is_named():
    async with subscribe(Paused) as events:
        await Paused(agent_id="a").emit()
        assert (await anext(events))[1].agent_id == "a"
    await edr.default_bus().aclose()


async def test_no_model_and_a_model_without_an_app_are_refused(bus):
    with pytest.raises(TypeError, match="subscribe must get at least one model"):
        subscribe(bus=bus)
    with pytest.raises(TypeError, match="must have an app"):
        subscribe(Body, bus=bus)
