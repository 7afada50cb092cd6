"""A real client, over a real server and a socket."""

import asyncio
import contextlib
import json
import os

import pytest
from websockets.asyncio.client import connect as connect_to
from websockets.exceptions import ConnectionClosed, InvalidStatus

from edr.streams import Grant
from edr.web import Blackhole, Limits, Server

pytestmark = pytest.mark.slow
KEY = "edr.ok.info.*"
LIMIT = 20.0


@pytest.fixture
def serve():
    """Serve an application; the value is its address."""

    @contextlib.asynccontextmanager
    async def serve(app):
        async with Server(app, "127.0.0.1:0") as server:
            yield f"ws://127.0.0.1:{server.port}/any/path"

    return serve


async def ask(client, document):
    await client.send(json.dumps(document))
    return await reply_of(client)


async def reply_of(client):
    async with asyncio.timeout(LIMIT):
        while (frame := json.loads(await client.recv()))["action"] != "reply":
            pass
    return frame


async def test_client_receives_events(serve, blackhole, bus, request_of):
    async with serve(blackhole) as url, connect_to(url) as client:
        reply = await ask(client, request_of("subscribe", "branch", KEY))
        assert reply["data"] == {"subscribed": [KEY] * 12}
        await bus.emit("acdc", "4.0.0", "ok", "info", {"n": 1}, "branch")
        await bus.emit("acdc", "4.0.0", "ok", "info", {"n": 2}, "other")
        await bus.emit("acdc", "4.0.0", "ok", "info", {"n": 3}, "branch")
        async with asyncio.timeout(LIMIT):
            frames = [json.loads(await client.recv()) for _ in range(2)]

    assert [frame["data"]["body"]["n"] for frame in frames] == [1, 3]


async def test_fragmented_text_is_one_frame(serve, blackhole, request_of):
    text = json.dumps(request_of("ping"))
    async with serve(blackhole) as url, connect_to(url) as client:
        await client.send([text[:9], text[9:20], text[20:]])

        assert (await reply_of(client))["data"] == {"response": "pong"}


async def test_huge_frame_closes_the_connection(serve, blackhole):
    async with serve(blackhole) as url, connect_to(url) as client:
        await client.send("x" * 70_000)
        with pytest.raises(ConnectionClosed):
            await client.recv()

    assert client.close_code == 1009


async def test_refused_handshakes_have_kazoos_status(serve, bus):
    blackhole = Blackhole(bus, lambda *_: None, limits=Limits(per_address=1))
    async with serve(blackhole) as url:
        with pytest.raises(InvalidStatus) as caught:
            await connect_to(url, subprotocols=["chat"])
        assert caught.value.response.status_code == 400
        async with connect_to(url):
            with pytest.raises(InvalidStatus) as caught:
                await connect_to(url)
        assert caught.value.response.status_code == 429


async def test_client_that_does_not_read_is_disconnected(serve, bus, request_of):
    blackhole = Blackhole(bus, lambda *_: Grant("branch"), send_timeout=0.3)
    async with serve(blackhole) as url:
        client = await connect_to(url, max_queue=1)
        await ask(client, request_of("subscribe", "branch", KEY))
        client.transport.pause_reading()
        body = {"text": os.urandom(50_000).hex()}  # deflate does not make it small
        async with asyncio.timeout(LIMIT):
            while not blackhole.statistics().closed:
                await bus.emit("acdc", "1", "ok", "info", body, "branch")
                await asyncio.sleep(0)  # an emit without a subscription does not yield
        client.transport.abort()

    assert blackhole.statistics().closed == {"slow": 1}


async def test_stop_is_a_close_frame(serve, blackhole, request_of):
    async with serve(blackhole) as url, connect_to(url) as client:
        await ask(client, request_of("ping"))
        await blackhole.stop()
        with pytest.raises(ConnectionClosed):
            await client.recv()

        assert (client.close_code, client.close_reason) == (1001, "stopping")
