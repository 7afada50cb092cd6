import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from support.asgi_websocket import AsgiWebSocket
from support.shuffled_loop import run
from support.stream_clients import turns

import edr
from edr.streams import Grant
from edr.web import Blackhole
from edr.web.blackhole import connection, replies
from edr.web.blackhole.session import Session
from edr.web.limits import Limits

KEY = "edr.ok.info.*"


def closed(client):
    return client.app.statistics().closed


async def test_reply_comes_before_the_events_of_a_subscription(connect, emit, request_of):
    async with connect() as client:
        client.reads.clear()
        client.send(request_of("subscribe", "branch", KEY))
        while not client.app.statistics().subscriptions:
            await asyncio.sleep(0)
        await emit(1, account_id="branch")
        client.reads.set()

        assert (await client.json())["action"] == "reply"
        assert (await client.json())["action"] == "event"


async def test_no_event_comes_after_the_reply_to_unsubscribe(connect, emit, request_of):
    async with connect() as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        client.reads.clear()
        for n in range(10):
            await emit(n, account_id="branch")
        await turns(10)  # the first event is being sent, the others are taken
        client.send(request_of("unsubscribe", "branch", KEY))
        await turns(10)
        client.reads.set()

        frames = [await client.json(), await client.json()]
        await client.ask(request_of("ping"))
        assert [frame["action"] for frame in frames] == ["event", "reply"]


async def test_long_backlog_is_sent_in_batches(connect, emit, request_of):
    async with connect() as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        for n in range(500):
            await emit(n, account_id="branch")
        await client.text()

        assert 0 < len(client.texts()) < 400  # other tasks run between two batches


async def test_binary_frame_is_an_error(connect):
    async with connect() as client:
        reply = await client.ask(b"\x00\xff")

    assert reply["data"]["errors"] == [replies.NOT_TEXT]
    assert re.fullmatch("[0-9a-f]{32}", reply["request_id"])


@pytest.mark.parametrize("frame", ["x" * 101, "é" * 51, b"x" * 101])
async def test_frame_that_is_too_large_closes_the_connection(connect, frame):
    async with connect(limits=Limits(frame=100)) as client:
        client.send(frame)
        assert await client.text() is None

    assert client.closed[0] == 1009
    assert closed(client) == {"too_large": 1}


@pytest.mark.parametrize("frame", [b"", "{", '{"action":"ping","auth_token":"T-reseller"}'])
async def test_flood_is_answered_and_then_closed(connect, frame):
    async with connect() as client:
        for _ in range(connection.MAX_REFUSED + 1000):
            client.send(frame)
        while await client.text() is not None:
            pass

    assert client.closed[0] == 1008
    assert closed(client) == {"rate": 1}


async def test_client_that_does_not_read_is_closed(connect, emit, request_of, monkeypatch):
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.05)
    async with connect(send_timeout=0.05) as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        client.reads.clear()
        await emit(1, account_id="branch")
        await asyncio.wait([client._task], timeout=10)

    assert closed(client) == {"slow": 1}


async def test_client_that_lags_beyond_the_ring_is_closed(connect, emit, request_of):
    async with connect(ring=10) as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        for n in range(11):
            await emit(n, account_id="branch")
        while await client.text() is not None:
            pass

    assert client.closed == (1013, "too slow: events were not sent")


def test_connection_without_a_token_is_closed_after_a_while():
    async def scenario():
        bus = edr.Bus()
        async with bus, AsgiWebSocket(Blackhole(bus, lambda *_: None)) as client:
            await client.ask({"action": "ping", "auth_token": "T"})
            await asyncio.sleep(599)
            assert client.closed is None
            await asyncio.sleep(2)

            assert client.closed == (4408, "no token")

    run(scenario, 1)


def test_connection_is_idle_without_frames_for_an_hour():
    async def scenario():
        bus = edr.Bus()
        blackhole = Blackhole(bus, lambda *_: Grant("a"))
        async with bus, AsgiWebSocket(blackhole) as client:
            for _ in range(5):
                await client.ask({"action": "ping", "auth_token": "T"})
                await asyncio.sleep(3599)
            assert client.closed is None
            await asyncio.sleep(2)

            assert client.closed == (1000, "idle")

    run(scenario, 1)


def test_grant_is_renewed_until_the_connection_ends():
    calls = []

    async def scenario():
        bus = edr.Bus()
        blackhole = Blackhole(bus, lambda *_: calls.append(1) or Grant("a"))
        async with bus:
            async with AsgiWebSocket(blackhole) as client:
                await client.ask({"action": "ping", "auth_token": "T"})
                await asyncio.sleep(61)
            assert len(calls) == 2
            await asyncio.sleep(600)

    run(scenario, 1)
    assert len(calls) == 2


async def test_grant_that_ends_closes_the_connection(connect, request_of):
    grants = iter(["first"])

    def authenticate(token, peer):
        soon = datetime.now(UTC) + timedelta(seconds=0.05)
        return Grant("reseller", expires=soon) if next(grants, None) else None

    async with connect(authenticate=authenticate) as client:
        client.send(request_of("ping"))
        while await client.text() is not None:
            pass

    assert client.closed == (4403, "the grant has ended")


async def test_client_that_is_gone_ends_the_connection(connect, emit, request_of):
    async with connect() as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        client.is_gone = True
        await emit(1, account_id="branch")
        await asyncio.wait([client._task], timeout=10)

    assert client.closed is None
    assert closed(client) == {"left": 1}


async def test_client_that_leaves_is_sent_no_close_frame(connect, request_of):
    async with connect() as client:
        await client.ask(request_of("ping"))

    assert client.closed is None
    assert closed(client) == {"left": 1}


async def test_fault_of_edr_closes_the_connection(connect, request_of, monkeypatch, caplog):
    async with connect() as client:
        await client.ask(request_of("ping"))
        monkeypatch.setattr(Session, "answer", None)  # no request can cause a fault
        client.send(request_of("ping"))
        assert await client.text() is None

    assert client.closed[0] == 1011
    assert "a Blackhole session failed" in caplog.text


async def test_events_are_sent_in_order(connect, emit, request_of):
    async with connect() as client:
        await client.ask(request_of("subscribe", "branch", KEY))
        for n in range(500):
            await emit(n, account_id="branch")
        numbers = [json.loads(await client.text())["data"]["body"]["n"] for _ in range(500)]

    assert numbers == list(range(500))
