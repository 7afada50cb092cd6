"""Emitter and context: what is said once, and what is said for a while."""

import asyncio

import pytest
from support.consuming import ticks

import edr
from edr import Bus, Emitter


async def taken(subscription, count):
    return [await anext(subscription) for _ in range(count)]


async def test_what_is_bound_is_in_every_body_and_what_is_nearest_wins(bus):
    events = bus.subscribe()
    plain = Emitter("shop", "1", "acme", bus=bus)
    bound = plain.with_fields("other", request="r1", user="u1").with_fields(user="u2")
    await bound.emit("ok", "info", {"n": 1, "request": "own"})
    await plain.emit("ok", "info", {"n": 2})
    first, second = await taken(events, 2)

    assert (first.account_id, first.body) == ("other", {"request": "own", "user": "u2", "n": 1})
    assert (second.account_id, second.body) == ("acme", {"n": 2})


async def test_a_context_holds_for_what_begins_in_it(bus):
    events = bus.subscribe()
    emitter = Emitter("shop", "1", bus=bus).with_fields(user="u1")
    with edr.context("acme", request="r1", user="around"):
        with edr.context(step=2):
            await emitter.emit("ok", "info", {"n": 1})
            task = asyncio.create_task(emitter.emit("ok", "info", {"n": 2}))
            await asyncio.to_thread(emitter.emit_threadsafe, "ok", "info", {"n": 3})
        await emitter.emit("ok", "info", {"n": 4}, account_id="named")
    await task
    await emitter.emit("ok", "info", {"n": 5})
    await ticks()
    found = {event.body["n"]: event for event in await taken(events, 5)}

    for n in (1, 2, 3):
        assert found[n].body == {"request": "r1", "user": "u1", "step": 2, "n": n}
        assert found[n].account_id == "acme"
    assert (found[4].account_id, found[4].body.get("step")) == ("named", None)
    assert (found[5].account_id, found[5].body) == (None, {"user": "u1", "n": 5})


async def test_the_severities_are_methods(bus):
    events = bus.subscribe(edr.Binding.everything())
    emitter = Emitter("shop", "1", bus=bus)
    await emitter.ok({"n": 1}, verbosity="trace")
    await emitter.warning({"n": 2}, account_id="acme")
    await emitter.critical({"n": 3})
    emitter.emit_nowait("ok", "info", {"n": 4})
    levels = [(event.severity, event.verbosity) for event in await taken(events, 4)]

    assert levels == [
        ("ok", "trace"),
        ("warning", "warn"),
        ("critical", "error"),
        ("ok", "info"),
    ]


async def test_its_bus_may_come_later():
    emitter = Emitter("shop", "1")
    async with Bus() as bus:
        emitter.bus = bus
        events = bus.subscribe()
        await emitter.ok({"n": 1})
        assert (await anext(events)).body == {"n": 1}
        await events.aclose()


async def test_a_body_that_is_none_is_refused_as_anywhere(bus):
    with pytest.raises(edr.InvalidEventError):
        await Emitter("shop", "1", bus=bus).with_fields(a=1).emit("ok", "info", [1])


async def test_the_account_may_be_given_by_name_and_is_no_field_of_the_body(bus):
    events = bus.subscribe()
    with edr.context(account_id="acme", request="r1"):
        await Emitter("app", "1", bus=bus).ok({})
    await Emitter("app", "1", bus=bus).with_fields(account_id="globex").ok({})

    assert [(event.account_id, event.body) for event in events.take()] == [
        ("acme", {"request": "r1"}),
        ("globex", {}),
    ]
