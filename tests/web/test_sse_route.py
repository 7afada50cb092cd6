import asyncio

import pytest

import edr
from edr.journal import SqliteJournal
from edr.web import Limits


async def test_client_receives_events_as_they_are_emitted(serve, client_of, publish):
    _, server = await serve()
    stream, hello = await client_of(server, "all").events()
    publish(1, 2)

    assert hello.event == "hello"
    assert hello.data["edr"] == 1
    assert hello.data["node"] == "test"
    assert hello.data["resumed"] is False
    assert [block.n for block in await stream.blocks(2)] == [1, 2]


async def test_client_continues_after_its_last_event(serve, client_of, publish):
    _, server = await serve()
    client = client_of(server)
    stream, _ = await client.events()
    publish(1, 2, 3)
    await stream.blocks(2)
    stream.close()
    publish(4)
    stream, hello = await client.events({"Last-Event-ID": stream.last_id})

    assert hello.data["resumed"] is True
    assert [block.n for block in await stream.blocks(2)] == [3, 4]


async def test_last_event_id_overrides_after(serve, client_of, publish):
    _, server = await serve()
    client = client_of(server)
    stream, _ = await client.events()
    publish(1, 2)
    first, second = await stream.blocks(2)
    again, _ = await client.events({"Last-Event-ID": first.id}, after=second.id)

    assert (await again.block()).n == 2


async def test_hello_has_the_cursor_before_the_first_event(serve, client_of, publish):
    _, server = await serve()
    client = client_of(server)
    publish(1, 2, 3)
    _, hello = await client.events(last=2)
    again, _ = await client.events(after=hello.id)

    assert [block.n for block in await again.blocks(2)] == [2, 3]


async def test_gap_is_reported_and_its_id_continues_without_it(serve, client_of, publish):
    _, server = await serve(ring=2)
    client = client_of(server)
    _, hello = await client.events()
    publish(1, 2, 3, 4, 5)
    stream, _ = await client.events(after=hello.id)
    gap, first = await stream.blocks(2)
    again, resumed = await client.events(after=gap.id)

    assert gap.event == "gap"
    assert gap.data == {"reason": "expired", "missed_at_most": 3}
    assert first.n == (await again.block()).n == 4
    assert resumed.data["resumed"] is True


@pytest.mark.parametrize("cursor", ["x", "00000000-1", "9" * 3000, "", "a-b-c"])
async def test_unknown_cursor_is_reported_as_restarted(serve, client_of, publish, cursor):
    _, server = await serve()
    client = client_of(server)
    publish(1)
    stream, hello = await client.events(after=cursor)
    gap, event = await stream.blocks(2)

    assert hello.data["resumed"] is False
    assert gap.data == {"reason": "restarted", "missed": None}
    assert event.n == 1


async def test_gap_fails_the_request_if_requested(serve, client_of, publish):
    _, server = await serve(ring=2)
    client = client_of(server)
    publish(1, 2, 3)
    answer = await client.get("/events", on_gap="fail", after="00000000-1")
    error = await answer.error()
    stream, _ = await client.events(after=error["cursor"], on_gap="fail")

    assert answer.status == 410
    assert (error["code"], error["path"], error["reason"]) == ("gap", "after", "restarted")
    assert [block.n for block in await stream.blocks(2)] == [2, 3]


async def test_stream_that_fails_on_gaps_starts_without_one(serve, client_of, publish):
    _, server = await serve()
    stream, _ = await client_of(server).events(on_gap="fail")
    publish(1)

    assert (await stream.block()).n == 1


@pytest.mark.parametrize("body", [
    {"bindings": [{"app_name": "acdc"}], "last": 5},
    {"bindings": {"app_name": "acdc"}, "last": 5, "after": None},
])  # fmt: skip
async def test_request_may_be_a_post(serve, client_of, publish, body):
    _, server = await serve()
    publish(1)
    publish(2, app_name="acdc")
    stream = await client_of(server).post("/events", body)

    hello, event = await stream.blocks(2)
    assert hello.data["bindings"][0]["app_name"] == "acdc"
    assert event.n == 2


async def test_heartbeat_moves_the_cursor_of_a_rare_filter(serve, client_of, publish):
    _, server = await serve(heartbeat=0.1)
    client = client_of(server)
    stream, hello = await client.events(app_name="rare")
    publish(1, 2, 3)
    beat = await stream.block()
    again, _ = await client.events(after=beat.id)

    assert (beat.event, beat.data) == ("message", None)
    assert int(beat.id.split("-")[1]) == int(hello.id.split("-")[1]) + 3
    publish(4)
    assert (await again.block()).n == 4


async def test_tenant_receives_its_events_with_a_cut_tree(serve, client_of, publish):
    _, server = await serve()
    stream, hello = await client_of(server, "reseller").events()
    publish(1)
    publish(2, account_id="other", account_tree=("top",))
    publish(3, account_id="branch", account_tree=("top", "reseller"))
    event = await stream.block()

    assert hello.data["account"] == "reseller"
    assert event.data["account_tree"] == ["reseller"]
    assert event.n == 3


async def test_links_request_the_events_of_clients(serve, client_of, bus):
    gateway, server = await serve()
    keys = []
    bus.watch_interest(lambda key, wanted: keys.append((key.app_name, wanted)))
    await client_of(server).events(app_name="acdc")
    await gateway.stop()

    assert keys == [("acdc", True), ("acdc", False)]


async def test_client_that_leaves_is_removed(serve, client_of):
    gateway, server = await serve(limits=Limits(clients=1))
    stream, _ = await client_of(server).events()
    stream.close()
    while gateway.statistics().clients:
        await asyncio.sleep(0)

    assert gateway.statistics().closed == {"left": 1}
    assert gateway._context.streams.statistics().places == 0
    await client_of(server).events()


async def test_too_many_clients_of_an_account_are_refused(serve, client_of):
    _, server = await serve(limits=Limits(per_account=1))
    await client_of(server, "acme").events()

    assert (await client_of(server, "acme").get("/recent")).status == 429
    assert (await client_of(server, "globex").get("/recent")).status == 200


async def test_too_many_clients_of_an_address_are_refused(serve, client_of):
    gateway, server = await serve(limits=Limits(per_address=1))
    client = client_of(server)
    await client.events()
    answer = await client.get("/events")

    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    assert gateway.statistics().refused == {"too_many_clients": 1}


async def test_client_that_is_older_than_the_window_reads_the_journal(
    tmp_path, serve, client_of, publish
):
    everything = edr.Binding.everything()
    journal = SqliteJournal(tmp_path / "journal", everything, sync="process", linger=0)
    async with edr.Bus(journal=journal) as bus:
        gateway, server = await serve(on=bus, journal=journal, ring=2)
        client = client_of(server)
        _, hello = await client.events()
        publish(99, on=bus, app_name="other")
        publish(*range(9), on=bus)
        stream, again = await client.events(after=hello.id, on_gap="fail", app_name="app")
        blocks = await stream.blocks(9)  # so the window has all events
        recent = await (await client.get("/recent", after=hello.id, app_name="other")).json()
        nothing = await (await client.get("/recent", after=hello.id, app_name="none")).json()

        assert again.data["resumed"] is True
        assert [block.n for block in blocks] == list(range(9))
        assert [each["event"]["body"]["n"] for each in recent["events"]] == [99]
        assert "gap" not in recent
        assert nothing["events"] == []
        await gateway.stop()
