import asyncio
import json

from hypothesis import given
from hypothesis import strategies as st
from support.asgi_websocket import AsgiWebSocket

import edr
from edr.bus import default_bus
from edr.control.parts import is_part
from edr.streams import Grant
from edr.web import Blackhole, Limits
from edr.web.blackhole import connection

KEY = "edr.ok.info.*"


async def test_a_whole_conversation(connect, bus, request_of):
    async with connect() as client:
        await client.ask(request_of("subscribe", "branch", "edr.critical.fatal.*"))
        await bus.emit("acdc", "4.0.0", "critical", "fatal", {"Queue-ID": "q7"}, "branch")
        frame = await client.text()

    data = json.loads(frame)["data"]
    assert data["body"] == {"queue_id": "q7"}
    assert "node" not in data
    assert frame.startswith(
        '{"action":"event","subscribed_key":"edr.critical.fatal.*",'
        '"subscription_key":"edr.critical.fatal.branch.*","name":"event",'
        '"routing_key":"edr.critical.fatal.branch.acdc","data":{"account_id":"branch",'
        '"account_tree":["reseller"],"app_name":"acdc","app_version":"4.0.0",'
    )


async def test_overlapping_subscriptions_each_send_a_frame(connect, emit, request_of):
    async with connect() as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        await client.ask(request_of("subscribe", "branch", "edr.ok.info.acdc"))
        await emit(1, "acdc", account_id="branch")
        first, second = await client.json(), await client.json()

    assert [first["subscribed_key"], second["subscribed_key"]] == [KEY, "edr.ok.info.acdc"]
    assert first["data"] == second["data"]


async def test_client_sees_no_account_above_its_own(connect, bus, request_of):
    async with connect() as client:
        await client.ask(request_of("subscribe", "branch", KEY, who="T-branch"))
        await bus.emit("acdc", "1", "ok", "info", {}, "branch")

        assert (await client.json())["data"]["account_tree"] == []


async def test_operator_sees_events_without_an_account(connect, emit, request_of):
    async with connect() as client:
        await client.ask(request_of("subscribe", "*", KEY, who="T-root"))
        await emit(1)
        frame = await client.json()

    assert frame["subscription_key"] == "edr.ok.info.*.*"
    assert frame["routing_key"] == "edr.ok.info.undefined.app"
    assert "account_id" not in frame["data"]


async def test_unsubscribe_does_not_affect_another_connection(connect, emit, request_of, blackhole):
    async with connect(blackhole) as one, connect(blackhole) as two:
        for client in (one, two):
            await client.ask(request_of("subscribe", "branch", KEY))
        await one.ask(request_of("unsubscribe", "branch", KEY))
        reply = await one.ask(request_of("unsubscribe", "branch", KEY))
        await emit(1, account_id="branch")

        assert reply["status"] == "error"
        assert (await two.json())["data"]["body"] == {"n": 1}


# Handshakes


async def test_subprotocol_is_answered_with_400(connect):
    async with connect(headers={"sec-websocket-protocol": "chat"}) as client:
        assert client.status == 400


async def test_connections_of_an_address_are_limited(connect, bus):
    blackhole = Blackhole(bus, lambda *_: None, limits=Limits(per_address=1))
    async with connect(blackhole), connect(blackhole) as second:
        assert second.status == 429
    async with connect(blackhole) as third:
        assert third.status is None

    assert blackhole.statistics().refused == {"too_many_clients": 1}


async def test_pages_of_all_sites_may_connect_by_default(connect):
    async with connect(headers={"origin": "https://ui.example.net"}) as client:
        assert client.status is None


async def test_pages_of_other_sites_are_refused_with_origins(connect):
    origins = ["https://ui.example.net"]
    async with connect(headers={"origin": origins[0]}, origins=origins) as client:
        assert client.status is None
    evil = {"origin": "http://evil.example", "host": "evil.example"}
    async with connect(headers=evil, origins=origins) as client:
        assert client.status == 403


async def test_request_without_upgrade_is_answered(blackhole):
    sent = []

    async def send(message):
        sent.append(message)

    await blackhole({"type": "http"}, None, send)

    assert sent[0]["status"] == 426


# The end


async def test_stop_closes_all_connections(connect, request_of, blackhole):
    async with connect(blackhole) as idle, connect(blackhole) as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        await blackhole.stop()

        assert client.closed == idle.closed == (1001, "stopping")
    async with connect(blackhole) as late:
        assert late.status == 503


async def test_stop_does_not_wait_for_a_client_that_does_not_read(connect, blackhole, monkeypatch):
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.05)
    loop = asyncio.get_running_loop()
    async with connect(blackhole) as client:
        client.reads.clear()
        started = loop.time()
        await blackhole.stop()

        assert loop.time() - started < 1.2
    assert client.closed is None


async def test_last_events_are_sent_when_the_bus_drains(connect, bus, emit, request_of):
    async with connect() as client, connect(client.app) as idle:
        await client.ask(request_of("subscribe", "branch", KEY))
        for n in range(200):
            await emit(n, account_id="branch")
        started = asyncio.get_running_loop().time()
        await bus.drain()
        assert asyncio.get_running_loop().time() - started < 0.9  # not the time-out
        frames = [json.loads(text) for text in client.texts()[:-1]]

        assert [frame["data"]["body"]["n"] for frame in frames] == list(range(200))
        assert client.closed == idle.closed == (1001, "stopping")


async def test_closed_bus_is_answered_with_503(connect, bus):
    await bus.aclose()
    async with connect() as client:
        assert client.status == 503


async def test_cancelled_connection_leaves_nothing(connect, request_of, blackhole):
    async with connect(blackhole) as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        client._task.cancel()
        await asyncio.wait([client._task])
        client._task = asyncio.create_task(asyncio.sleep(0))

    assert blackhole.clients() == []
    assert blackhole.statistics().closed == {"failed": 1}


async def test_lifespan_starts_and_stops_it(bus, blackhole):
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    await blackhole({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert bus.services == ()


async def test_it_is_a_part_of_the_bus(bus):
    async with Blackhole(bus, lambda *_: None) as blackhole:
        assert blackhole in bus.services
        assert is_part(blackhole)
        assert blackhole.status()["state"] == "running"

    assert blackhole.status()["state"] == "stopped"
    assert bus.services == ()


async def test_it_serves_the_default_bus_of_the_loop(connect, emit, request_of):
    blackhole = Blackhole(None, lambda *_: Grant.everything())
    async with connect(blackhole) as client:
        await client.ask(request_of("subscribe", "*", KEY))
        await edr.emit("app", "1", "ok", "info", {"n": 1})

        assert (await client.json())["data"]["body"] == {"n": 1}
    await default_bus().aclose()


# Operators


async def test_clients_are_those_of_this_moment(connect, blackhole):
    async with connect(blackhole):
        assert [client.id for client in blackhole.clients()] == ["b1"]

    assert blackhole.clients() == []


async def test_statistics_count(connect, emit, request_of, blackhole):
    async with connect(blackhole) as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        await emit(1, account_id="branch")
        await client.text()
        running = blackhole.statistics()
    ended = blackhole.statistics()

    assert (running.clients, running.subscriptions, running.sent) == (1, 1, 1)
    assert (ended.clients, ended.subscriptions, ended.sent) == (0, 0, 1)
    assert ended.closed == {"left": 1}


# Any frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ACTIONS = ["subscribe", "unsubscribe", "ping"]
NAMES = ["reseller", "branch", "other", "*", "T-reseller", "T-root"]
KEYS = [KEY, "edr.ok.info", "edr.bad.bad.bad", "edr.critical.fatal.acdc", "call.x"]
WORDS = st.sampled_from([*ACTIONS, *NAMES, *KEYS])
VALUES = WORDS | JSON
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "action": VALUES,
        "auth_token": VALUES,
        "request_id": VALUES,
        "name": VALUES,
        "metadata": VALUES,
        "data": JSON
        | st.fixed_dictionaries({}, optional={"account_id": VALUES, "binding": VALUES}),
    },
)
FRAMES = REQUESTS.map(json.dumps) | JSON.map(json.dumps) | st.text() | st.binary()


@given(frames=st.lists(FRAMES, min_size=1, max_size=50))
def test_each_frame_is_answered(frames):
    async def converse():
        grants = {"T-reseller": Grant("reseller"), "T-root": Grant.everything()}
        async with edr.Bus(accounts=edr.AccountTree({"branch": "reseller"})) as bus:
            blackhole = Blackhole(bus, lambda token, _: grants.get(token))
            async with AsgiWebSocket(blackhole) as client:
                for frame in frames:
                    client.send(frame)
                for _ in frames:
                    reply = await client.json()
                    assert list(reply) == ["action", "request_id", "status", "data"]
                    assert reply["status"] in ("success", "error")
                    if reply["status"] == "error":
                        assert "T-re" not in json.dumps(reply["data"])
            assert blackhole.statistics().closed == {"left": 1}

    asyncio.run(converse())


async def test_renew_disconnects_a_client_without_a_grant(bus, connect, request_of):
    grants = {"T-reseller": Grant("reseller"), "T-branch": Grant("branch")}
    blackhole = Blackhole(bus, lambda token, _: grants.get(token))
    async with connect(blackhole) as kept, connect(blackhole) as ended:
        await kept.ask(request_of("subscribe", "branch", KEY))
        await ended.ask(request_of("subscribe", "branch", KEY, who="T-branch"))
        del grants["T-branch"]
        await blackhole.renew()
        last = await ended.text()
        reply = await kept.ask(request_of("ping"))

    assert (last, ended.closed) == (None, (4403, "the grant has ended"))
    assert reply["status"] == "success"
