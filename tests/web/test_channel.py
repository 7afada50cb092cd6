"""A WebSocket over the messages of ASGI."""

import pytest

from edr.web.channel import Channel, DisconnectedError
from edr.web.refusals import RefusedError


class Server:
    """The messages of a server: those that it has, and those that it was sent."""

    def __init__(self, *messages, fault=None):
        self.messages = list(messages)
        self.fault = fault
        self.sent = []

    async def receive(self):
        return self.messages.pop(0)

    async def send(self, message):
        if self.fault is not None:
            raise self.fault
        self.sent.append(message)

    @property
    def channel(self):
        return Channel(self.receive, self.send)


CONNECT = {"type": "websocket.connect"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1006}


async def test_it_receives_text_and_bytes():
    server = Server(
        CONNECT,
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.receive", "bytes": b"b", "text": None},
    )
    channel = server.channel
    await channel.accept()
    assert server.sent == [{"type": "websocket.accept"}]
    assert [await channel.receive(), await channel.receive()] == ["a", b"b"]


async def test_it_sends_and_closes():
    server = Server()
    await server.channel.send("a")
    await server.channel.close(1008, "r" * 200)
    assert server.sent == [
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.close", "code": 1008, "reason": "r" * 123},
    ]


async def test_a_client_that_is_gone_raises():
    with pytest.raises(DisconnectedError):
        await Server(DISCONNECT).channel.accept()
    with pytest.raises(DisconnectedError):
        await Server(DISCONNECT).channel.receive()


@pytest.mark.parametrize("fault", [OSError(), RuntimeError("after websocket.close")])
async def test_a_send_to_a_client_that_is_gone_raises(fault):
    server = Server(CONNECT, fault=fault)
    with pytest.raises(DisconnectedError):
        await server.channel.send("a")
    await server.channel.close(1001)  # nothing is left to close
    await server.channel.refuse({}, RefusedError("not_found", "why"))


async def test_a_refusal_has_a_status_and_a_body():
    server = Server(CONNECT)
    scope = {"extensions": {"websocket.http.response": {}}}
    refusal = RefusedError("not_found", "why")
    await server.channel.refuse(scope, refusal)
    start, body = server.sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
    assert (b"content-type", b"application/json") in start["headers"]
    assert body["type"] == "websocket.http.response.body"
    assert (body["body"], body["more_body"]) == (refusal.body(), False)


async def test_a_refusal_without_the_extension_closes():
    server = Server(CONNECT)
    await server.channel.refuse({}, RefusedError("not_found", "why"))
    assert server.sent == [{"type": "websocket.close"}]
