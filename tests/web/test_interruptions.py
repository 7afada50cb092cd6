"""A connection that is cancelled, or ended by a stop, at any of its steps leaves nothing."""

import asyncio
import json

import pytest

from edr import Bus
from edr.web import Blackhole, Gateway, Grant

STEPS = range(16)
"""Turns of the loop before the interruption. All connections wait for events after the last."""

HEADERS = [(b"host", b"localhost"), (b"authorization", b"Bearer acme")]

pytestmark = pytest.mark.slow


def http(query):
    scope = {"type": "http", "method": "GET", "path": "/events", "query_string": query}
    return scope | {"scheme": "http"}, [{"type": "http.request", "body": b""}]


def websocket(path, *frames):
    scope = {"type": "websocket", "path": path, "query_string": b"", "scheme": "ws"}
    texts = [{"type": "websocket.receive", "text": json.dumps(frame)} for frame in frames]
    return scope, [{"type": "websocket.connect"}, *texts]


TARGET = {"account_id": "acme", "binding": "edr.ok.info.*"}
CONNECTIONS = {
    "sse": http(b"last=3"),
    "sse without gaps": http(b"last=3&on_gap=fail"),
    "websocket": websocket(
        "/ws", {"do": "subscribe", "id": "a", "last": 3}, {"do": "rebind", "id": "a"}
    ),
    "blackhole": websocket(
        "/", {"action": "subscribe", "auth_token": "acme", "request_id": "1", "data": TARGET}
    ),
}


async def authenticate(token, peer):
    await asyncio.sleep(0)
    return Grant(token)


class Peer:
    """A client that sends these messages, and then only receives."""

    def __init__(self, messages):
        self.messages, self.sent = list(messages), []

    async def receive(self):
        await asyncio.sleep(0)
        return self.messages.pop(0) if self.messages else await asyncio.Event().wait()

    async def send(self, message):
        await asyncio.sleep(0)
        self.sent.append(message)


async def interrupted(name, steps, interrupt, make_event):
    """Interrupt a connection after some turns; return its fault, and what is left and was sent."""
    async with Bus() as bus:
        app = (Blackhole if name == "blackhole" else Gateway)(bus, authenticate=authenticate)
        await app.start()
        for n in range(5):
            bus.publish_nowait(make_event(body={"n": n}, account_id="acme"))
        scope, messages = CONNECTIONS[name]
        peer = Peer(messages)
        scope = {**scope, "headers": HEADERS, "client": ("10.0.0.1", 5), "root_path": ""}
        task = asyncio.create_task(app(scope, peer.receive, peer.send))
        for _ in range(steps):
            await asyncio.sleep(0)
        await interrupt(bus, app, task)
        async with asyncio.timeout(10):
            await asyncio.wait([task])
        await asyncio.sleep(0)
        fault = None if task.cancelled() else task.exception()
        return fault, app.statistics().clients, len(asyncio.all_tasks()) - 1, peer.sent


async def cancel(bus, app, task):
    task.cancel()


async def stop(bus, app, task):
    await app.stop()


async def close(bus, app, task):
    await bus.aclose()


@pytest.mark.parametrize("interrupt", [cancel, stop, close])
@pytest.mark.parametrize("name", CONNECTIONS)
async def test_connection_can_be_interrupted_at_each_step(name, interrupt, make_event):
    for steps in STEPS:
        *left, sent = await interrupted(name, steps, interrupt, make_event)

        assert left == [None, 0, 0], steps
        if interrupt is not cancel:  # the server ends the connection that it cancels
            assert is_end(sent[-1]), steps


def is_end(message):
    if message["type"] == "websocket.close":
        return True
    return message["type"].endswith("response.body") and not message.get("more_body")
