"""What users write, for type checkers alone: nothing here is run.

Each line that ends in ``# mistake`` is one, and both mypy and pyright must say so, and of no other
line; ``test_typing.py`` holds them to it.
"""

from __future__ import annotations

from typing import Literal, assert_type

import edr
import edr.typed
from edr import Binding, Bus, Event, Gap, Subscription
from edr.testing import RecordingBus

bus = Bus()
emitter = edr.Emitter("billing", "5.1")


# What is right


async def emits() -> None:
    assert_type(await edr.emit("billing", "5.1", "ok", "info", {"rate": 2}), int)
    assert_type(await bus.emit("a", "1", edr.Severity.OK, edr.Verbosity.INFO, {}, "acme"), int)
    assert_type(bus.emit_nowait("a", "1", "warning", "warn", {}), bool)
    assert_type(bus.emit_nowait("a", "1", "critical", "fatal", {}), bool)
    assert_type(bus.emit_threadsafe("a", "1", "ok", "trace", {}).result(), int)
    await emitter.warning({"rate": None}, verbosity="error")
    with edr.context("acme", request_id="r1"):
        await emitter.with_fields(user="u1").emit("ok", "info", {})


async def consumes(severity: edr.Severity) -> None:
    async with edr.subscribe(Binding(severity="warning"), app_name=["a", "b"]) as events:
        assert_type(events, Subscription[Event])
        async for event in events:
            assert_type(event, Event)
        assert_type(await anext(events), Event)
        assert_type(events.take(), list[Event])
        async for batch in events.batches(10, max_wait=1.0):
            assert_type(batch, list[Event])
    async for item in bus.subscribe(gaps=True, overflow="drop_oldest", severity=severity):
        assert_type(item, Event | Gap)
        print(item.missed if isinstance(item, Gap) else item.body)


def holds(events: Subscription) -> list[str]:
    return [event.app_name for event in events.take()]


@edr.on
async def plain(event: Event) -> None: ...


@edr.on(app_name="billing", retries=2, overflow=edr.Overflow.CLOSE)
def chosen(event: Event) -> None: ...


@bus.on(Binding(), payload="p")
async def with_payload(event: Event, payload: str) -> None: ...


assert_type(bus.bind([Binding()], plain, timeout=1.0), edr.Handle)
handle: edr.Handle = edr.bind(Binding(), plain, retries=3)
handle.unbind()
print(handle.bindings, handle.callback, handle.payload)
stored: Binding = Binding(account_id="acme", severity=["ok"], body={"status": ["paused"]})


class AgentPaused(edr.typed.Body, app="acdc", severity="ok"):
    status: Literal["paused"] = "paused"
    agent_id: str


class AgentLost(edr.typed.Body, app="acdc"):
    status: Literal["lost"] = "lost"


async def typed() -> None:
    await AgentPaused(agent_id="a1").emit("acme")
    async for event, body in edr.typed.subscribe(AgentPaused, name="screen"):
        assert_type((event, body), tuple[Event, AgentPaused])
    both = edr.typed.subscribe(AgentPaused, AgentLost, on_error=print)
    assert_type(both, edr.typed.TypedSubscription[AgentPaused | AgentLost])
    async for _, either in both:
        assert_type(either, AgentPaused | AgentLost)


class Priced(Event):
    price: int = 0


priced = Priced(app_name="a", app_version="1", severity="ok", verbosity="info", body={}, price=2)


async def puts_back(events: Subscription[Event | Gap]) -> None:
    async for item in events:
        with events.requeue_on_error(item):
            print(item)


async def test_of_a_user(edr_bus: RecordingBus) -> None:
    await edr_bus.join()
    assert_type(edr_bus.assert_emitted(app_name="acdc", times=1), list[Event])
    async with edr_bus.subscribe() as events:
        print(events.take())


# What is wrong


async def mistakes(event: Event, events: Subscription) -> None:
    await edr.emit("billing", "5.1", "okk", "info", {})  # mistake
    await bus.emit("billing", "5.1", "ok", "warning", {})  # mistake
    await emitter.emit("warn", "warn", {})  # mistake
    await bus.emit("billing", "5.1", "ok", "info", ["a list"])  # mistake
    bus.emit("billing", "5.1", "ok", "info", {})  # mistake
    await bus.emit_nowait("billing", "5.1", "ok", "info", {})  # mistake
    Binding(severity="error")  # mistake
    Binding(app="billing")  # mistake
    bus.subscribe(overflow="drop_old")  # mistake
    bus.bind(Binding(), plain, retires=3)  # mistake
    async for item in edr.subscribe(gaps=True):
        print(item.body)  # mistake
    for each in events:  # mistake
        print(each)
    event.body["rate"] = 3  # mistake
    Bus(accounts={"shop": "acme"})  # mistake
    edr.run(emits)  # mistake
    AgentPaused(agent="a1")  # mistake


@edr.on(retires=3)  # mistake
async def decorated(event: Event) -> None: ...
