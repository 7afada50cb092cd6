"""The requests, over a socket."""

import asyncio
from contextlib import suppress

import orjson
import pytest

import edr
from edr.control import RemoteError, connect
from edr.control import handlers as module
from edr.journal import SqliteJournal

EVENT = {
    "app_name": "app",
    "app_version": "1",
    "severity": "warning",
    "verbosity": "info",
    "body": {"n": 1},
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 0.001)


async def refused(asking):
    with pytest.raises(RemoteError) as raised:
        await asking
    return raised.value.code, raised.value.path


# Observe


async def test_tail_shows_events_as_they_are_emitted(client_of, emit):
    client = await client_of()
    async with client.request("tail", bindings=[{"severity": "warning"}]) as tail:
        await client.ask("bindings")  # the tail is there
        for n, severity in enumerate(["ok", "warning", "critical"]):
            await emit(n, severity=severity)
        shown = [(await anext(tail))["event"] for _ in range(2)]

    assert [each["body"]["n"] for each in shown] == [1, 2]
    assert shown[0]["severity"] == "warning"


async def test_tail_ends_with_its_counts(client_of, emit):
    client = await client_of()
    tail = client.request("tail")
    await client.ask("bindings")
    await emit(1)
    await anext(tail)
    tail.stop()

    assert [each async for each in tail] == [{"id": 1, "is": "end", "shown": 1, "missed": 0}]


async def test_tail_says_that_history_is_off_and_follows(client_of, emit):
    client = await client_of()
    async with client.request("tail", last=5) as tail:
        assert (await anext(tail))["code"] == "history_off"
        await client.ask("bindings")
        await emit(1)
        assert (await anext(tail))["is"] == "event"

    asking = client.ask("tail", last=5, follow=False)
    assert await refused(asking) == ("history_off", "last")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"after": "here"}, "after"),
        ({"after": 5}, "after"),
        ({"last": -1}, "last"),
        ({"last": 5, "after": "9f2c41d0-1"}, "last"),
        ({"wanted": 1}, "wanted"),
        ({"folow": True}, "folow"),
    ],
)
async def test_a_wrong_field_of_tail_is_refused(client_of, fields, path):
    client = await client_of(history=9)

    assert await refused(client.ask("tail", **fields)) == ("invalid_request", path)


async def test_top_repeats_the_state(client_of, emit):
    client = await client_of()
    async with client.request("top", every=0.2) as top:
        first = await anext(top)
        await emit(1)
        second = await anext(top)

    assert (first["bus"]["emits"], second["bus"]["emits"]) == (0, 1)
    assert second["uptime"] > first["uptime"]
    assert second["loop_lag"] >= 0
    assert await refused(client.ask("top", every=0.01)) == ("invalid_request", "every")


async def test_statistics_is_one_state(client_of, bus):
    kept = bus.subscribe(name="w")
    client = await client_of()
    messages = [each async for each in client.request("statistics")]

    assert [each["is"] for each in messages] == ["statistics", "end"]
    assert messages[0]["subscriptions"][0]["name"] == "w"
    assert messages[0]["journal"] is None
    assert (await client.ask("statistics", limit=0))["omitted"] == 1
    kept.shutdown()


async def test_explain_ends_when_the_bus_drains_while_the_history_is_read(
    exposed, bus, emit, stack, monkeypatch
):
    monkeypatch.setattr("edr.streams.filling.SLICE", 1)  # event in each turn of the loop
    one = await exposed(history=100)
    client = await stack.enter_async_context(connect(one.path))
    for n in range(100):
        await emit(n)
    request = client.request("explain", last=1, bindings=[{"severity": "ok"}])
    while not one._streams.statistics().places:  # no client can see this moment
        await asyncio.sleep(0)
    await bus.drain()

    with suppress(RemoteError):  # bus_closed, if the drain was faster
        async for _ in request:
            pass


async def test_explain_of_the_last_event_uses_the_history(client_of, emit):
    client = await client_of(history=10)
    await emit(1, severity="critical")
    await emit(2)
    request = client.request("explain", last=1, bindings=[{"severity": "critical"}])
    messages = [each async for each in request]

    assert [each["is"] for each in messages] == ["event", "end"]
    assert messages[0]["event"]["body"] == {"n": 1}
    several = [each async for each in client.request("explain", last=5)]
    assert [each["event"]["body"]["n"] for each in several[:-1]] == [1, 2]


async def test_explain_says_why_there_is_no_event(client_of):
    client = await client_of(history=10)
    assert await refused(client.ask("explain", last=1)) == ("not_found", "bindings")
    assert await refused(client.ask("explain")) == ("invalid_request", "event")


async def test_explain_without_a_history_needs_an_event(client_of):
    client = await client_of()

    assert await refused(client.ask("explain", last=1)) == ("history_off", "last")
    assert (await client.ask("explain", event=EVENT))["event"]["node"] == "test"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"severity": "wrong"}, "event.severity"),
        ({"body": []}, "event.body"),
        ({"account_id": 5}, "event.account_id"),
        ({"sevrity": "ok"}, "event.sevrity"),
    ],
)
async def test_an_event_that_is_not_valid_is_refused(client_of, change, path):
    client = await client_of()
    asking = client.ask("explain", event={**EVENT, **change})

    assert await refused(asking) == ("invalid_event", path)


async def test_a_large_integer_is_not_read_as_a_float(exposed):
    one = await exposed()
    reader, writer = await asyncio.open_unix_connection(str(one.path))
    event = orjson.dumps({**EVENT, "body": {"a": 0}}).replace(b":0", b":" + b"9" * 30)
    writer.write(b'{"id":1,"do":"explain","event":' + event + b"}\n")
    await reader.readline()
    error = orjson.loads(await reader.readline())
    writer.close()

    assert (error["code"], error["path"]) == ("invalid_event", "event.body.a")


async def test_an_unknown_request_is_refused_with_the_nearest_one(client_of):
    client = await client_of()
    with pytest.raises(RemoteError, match="did you mean 'tail'") as raised:
        await client.ask("tial")

    assert raised.value.code == "unknown_request"


# Change


@pytest.mark.parametrize("do", ["emit", "set_bindings", "sink", "forget", "reload"])
async def test_a_socket_is_read_only(client_of, do):
    client = await client_of()

    assert do not in client.hello["can"]
    assert await refused(client.ask(do, event=EVENT)) == ("not_allowed", "do")


async def test_a_permission_permits_only_its_requests(client_of):
    client = await client_of(allow={"emit"})

    assert "emit" in client.hello["can"]
    assert await refused(client.ask("sink")) == ("not_allowed", "do")


async def test_emit_puts_an_event_on_the_bus(client_of, bus):
    subscription = bus.subscribe()
    client = await client_of(allow={"emit"})
    answer = await client.ask("emit", event=EVENT)
    event = await anext(subscription)

    assert (answer["matched"], answer["event_id"]) == (1, event.id)
    assert (event.node, event.body) == ("test", {"n": 1})
    subscription.shutdown()


async def test_emit_finds_the_accounts_above(folder, stack):
    class Accounts:
        async def ancestors(self, account_id):
            return ["root", "reseller"]

    async with edr.Bus(accounts=Accounts()) as bus:
        subscription = bus.subscribe()
        exposed = await edr.control.expose(bus, name="x", allow={"emit"})
        async with edr.control.connect(exposed.path) as client:
            await client.ask("emit", event={**EVENT, "account_id": "a"})

        assert (await anext(subscription)).account_tree == ("root", "reseller")
        subscription.shutdown()


async def test_emit_keeps_the_fields_of_an_event_that_exists(client_of, bus, make_event):
    subscription = bus.subscribe()
    client = await client_of(allow={"emit"})
    event = make_event(node="elsewhere", body={"x": 1})
    await client.ask("emit", event=event.model_dump(mode="json"))

    assert await anext(subscription) == event
    subscription.shutdown()


async def test_emit_refuses_a_body_that_is_too_large(folder):
    async with (
        edr.Bus(max_body=100) as bus,
        edr.control.expose(bus, name="x", allow={"emit"}) as exposed,
        edr.control.connect(exposed.path) as client,
    ):
        asking = client.ask("emit", event={**EVENT, "body": {"x": "y" * 200}})

        assert await refused(asking) == ("body_too_large", "event.body")


async def test_a_durable_emit_needs_a_journal(client_of):
    client = await client_of(allow={"emit"})

    assert await refused(client.ask("emit", event=EVENT, durable=True)) == ("no_journal", "durable")
    assert await refused(client.ask("emit")) == ("invalid_request", "event")


async def test_a_durable_emit_is_stored_and_consumers_are_listed(folder, tmp_path):
    async with (
        edr.Bus(journal=SqliteJournal(tmp_path / "j")) as bus,
        edr.control.expose(bus, name="x", allow={"emit", "sinks"}) as exposed,
        edr.control.connect(exposed.path) as client,
    ):
        consumer = await bus.journal.consumer("sink:a", edr.Binding(severity="critical"))
        await client.ask("emit", event=EVENT, durable=True)
        state = await client.ask("statistics")

        assert state["journal"]["last"] == 1
        (shown,) = state["journal"]["consumers"]
        assert (shown["name"], shown["bindings"][0]["severity"]) == ("sink:a", "critical")
        assert (await client.ask("consumers"))["consumers"] == [shown]
        explained = [each async for each in client.request("explain", event=EVENT)]
        kinds = {each["kind"]: each["matches"] for each in explained[1]["results"]}
        assert kinds == {"journal": True, "consumer": False}
        assert await refused(client.ask("forget", consumer="sink:a")) == ("in_use", "consumer")
        await consumer.aclose()
        assert await refused(client.ask("forget", consumer="x")) == ("not_found", "consumer")
        await client.ask("forget", consumer="sink:a")
        assert await bus.journal.consumers() == ()


async def test_without_a_journal_there_are_no_consumers(client_of):
    client = await client_of(allow={"sinks"})

    assert await refused(client.ask("consumers")) == ("no_journal", "")
    assert await refused(client.ask("forget", consumer="x")) == ("no_journal", "")


class Sink:
    name, kind = "alarms", "sink"

    def __init__(self):
        self.bindings, self.calls = (edr.Binding(),), []

    def status(self):
        return {"state": "up"}

    async def rebind(self, *bindings):
        self.bindings = bindings

    async def pause(self):
        self.calls.append("pause")

    async def restart(self):
        raise OSError("amqp://u:secret@host is away")


async def test_the_bindings_of_a_part_are_replaced(client_of):
    sink = Sink()
    client = await client_of(parts=[sink], allow={"bindings"})
    await client.ask("set_bindings", part="alarms", bindings=[{"severity": "critical"}])

    assert sink.bindings == (edr.Binding(severity="critical"),)
    asking = client.ask("set_bindings", part="alarms")
    assert await refused(asking) == ("invalid_request", "bindings")
    asking = client.ask("set_bindings", part="alarm", bindings=[{}])
    assert await refused(asking) == ("not_found", "part")


async def test_a_sink_is_paused_resumed_and_restarted(client_of):
    sink = Sink()
    client = await client_of(parts=[sink], allow={"sinks"})
    await client.ask("sink", part="alarms", action="pause")

    assert sink.calls == ["pause"]
    asking = client.ask("sink", part="alarms", action="resume")
    assert await refused(asking) == ("not_supported", "part")
    asking = client.ask("sink", part="alarms", action="explode")
    assert await refused(asking) == ("invalid_request", "action")
    with pytest.raises(RemoteError, match="^amqp://…@host is away$"):
        await client.ask("sink", part="alarms", action="restart")


async def test_reload_returns_its_result(client_of):
    async def reload():
        await asyncio.sleep(0)
        return {"changed": ["alarms"]}

    client = await client_of(allow={"reload"}, reload=reload)

    assert (await client.ask("reload"))["result"] == {"changed": ["alarms"]}


async def test_a_stop_cancels_a_change(client_of):
    cancelled = []

    async def reload():
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    client = await client_of(allow={"reload"}, reload=reload)
    request = client.request("reload")
    await client.ask("bindings")
    request.stop()

    assert (await anext(request))["is"] == "end"
    assert cancelled == [True]
