import asyncio
import gc
import os
import subprocess
import sys

import orjson
import pytest

from edr.control import ConnectionLostError, ProtocolError, RemoteError, connect
from edr.control import client as client_module

HELLO = {"edr": 1, "bus": "calls-api", "node": "apps1:1", "pid": 1, "can": ["tail"]}


class Peer:
    """The other side of a connection, by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, *messages):
        for message in messages:
            self.writer.write(orjson.dumps(message) + b"\n")

    async def take(self):
        return orjson.loads(await self.reader.readuntil(b"\n"))

    async def answer(self, asking, *messages):
        """Send ``messages`` after the request of ``asking`` has arrived, and return its result."""
        task = asyncio.ensure_future(asking)
        await self.take()
        self.send(*messages)
        return await task


@pytest.fixture
async def serve(folder):
    """Start a server at a path; ``peers`` has the connections that it accepted."""
    servers, path = [], f"{folder}/x.1.sock"
    peers = asyncio.Queue()

    async def serve(first=HELLO):
        def accepted(reader, writer):
            peer = Peer(reader, writer)
            if isinstance(first, bytes):
                writer.write(first)
            elif first is not None:
                peer.send(first)
            peers.put_nowait(peer)

        servers.append(await asyncio.start_unix_server(accepted, path))
        return path, peers

    yield serve
    for server in servers:
        server.close()
    while not peers.empty():
        peers.get_nowait().writer.close()
    await asyncio.sleep(0)


@pytest.fixture
async def pair(serve):
    path, peers = await serve()
    async with connect(path) as client:
        peer = await peers.get()
        yield client, peer
        peer.writer.close()


async def test_hello_is_the_first_line_of_the_process(pair):
    client, _ = pair

    assert client.hello == HELLO


async def test_requests_have_ids_and_leave_out_missing_fields(pair):
    client, peer = pair
    first, second = client.request("tail", last=2, after=None), client.request("top")

    assert await peer.take() == {"id": 1, "do": "tail", "last": 2}
    assert await peer.take() == {"id": 2, "do": "top"}
    assert [first.id, second.id] == [1, 2]


async def test_messages_go_to_their_request_until_its_end(pair):
    client, peer = pair
    first, second = client.request("tail"), client.request("top")
    peer.send(
        {"id": 2, "is": "top", "n": 1},
        {"id": 1, "is": "event", "n": 2},
        {"id": 2, "is": "end"},
        {"id": 1, "is": "end", "shown": 1},
    )

    assert [each["is"] async for each in first] == ["event", "end"]
    assert [each["is"] async for each in second] == ["top", "end"]


async def test_ask_returns_the_answer_after_the_end(pair):
    client, peer = pair
    messages = {"id": 1, "is": "statistics", "n": 1}, {"id": 1, "is": "end"}

    assert (await peer.answer(client.ask("statistics"), *messages))["n"] == 1
    assert (await peer.answer(client.ask("reload"), {"id": 2, "is": "end"}))["is"] == "end"


async def test_an_error_is_raised_with_its_code_path_and_detail(pair):
    client, peer = pair
    request = client.request("tail")
    error = {"code": "invalid_binding", "path": "bindings[0].severity", "detail": "not a level"}
    peer.send({"id": 1, "is": "error", **error})

    with pytest.raises(RemoteError, match=r"^bindings\[0\]\.severity: not a level$") as raised:
        await anext(request)
    assert (raised.value.code, raised.value.path) == ("invalid_binding", "bindings[0].severity")
    with pytest.raises(StopAsyncIteration):
        await anext(request)


async def test_the_end_of_a_block_stops_the_request(pair):
    client, peer = pair
    async with client.request("tail"):
        assert (await peer.take())["do"] == "tail"

    assert await peer.take() == {"id": 1, "do": "stop"}


async def test_stop_lets_the_last_message_arrive(pair):
    client, peer = pair
    request = client.request("tail")
    request.stop()
    await peer.take()
    assert await peer.take() == {"id": 1, "do": "stop"}
    peer.send({"id": 1, "is": "end", "shown": 3})

    assert [each["shown"] async for each in request] == [3]
    request.stop()  # it has ended: nothing is sent
    client.request("top")
    assert (await peer.take())["do"] == "top"


async def test_a_request_that_nobody_holds_is_stopped(pair):
    client, peer = pair
    client.request("tail")
    gc.collect()

    await peer.take()
    assert await peer.take() == {"id": 1, "do": "stop"}
    late = {"id": 1, "is": "event"}
    assert (await peer.answer(client.ask("top"), late, {"id": 2, "is": "end"}))["id"] == 2


async def test_a_lost_connection_is_raised_after_the_messages(pair):
    client, peer = pair
    request = client.request("tail")
    peer.send({"id": 1, "is": "event"})
    peer.writer.close()

    assert (await anext(request))["is"] == "event"
    with pytest.raises(ConnectionLostError, match="closed the connection"):
        await anext(request)
    with pytest.raises(ConnectionLostError):
        client.request("top")


async def test_a_goodbye_gives_the_reason_of_the_loss(pair):
    client, peer = pair
    request = client.request("tail")
    peer.send({"is": "bye", "detail": "the bus has closed"})
    peer.writer.close()

    with pytest.raises(ConnectionLostError, match="the bus has closed"):
        await anext(request)


async def test_closing_ends_open_requests(pair):
    client, _ = pair
    request = client.request("tail")
    await client.aclose()
    await client.aclose()

    with pytest.raises(ConnectionLostError, match="closed here"):
        await anext(request)


async def test_a_cancelled_wait_loses_no_message(pair):
    client, peer = pair
    request = client.request("tail")
    waiting = asyncio.ensure_future(anext(request))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    peer.send({"id": 1, "is": "event", "n": 7})

    assert (await anext(request))["n"] == 7


async def test_reading_stops_while_a_request_is_full(pair, monkeypatch):
    client, peer = pair
    monkeypatch.setattr(client_module, "MAX_BACKLOG", 1000)
    request = client.request("tail")
    count = 5000
    peer.send(*[{"id": 1, "is": "event", "n": n} for n in range(count)])
    for _ in range(100):
        await asyncio.sleep(0)

    assert len(request._messages) < 100
    for n in range(count):
        assert (await anext(request))["n"] == n


async def test_a_full_request_that_is_left_does_not_block_others(pair, monkeypatch):
    client, peer = pair
    monkeypatch.setattr(client_module, "MAX_BACKLOG", 100)
    request = client.request("tail")
    await peer.take()
    peer.send(*[{"id": 1, "is": "event", "n": n} for n in range(100)])
    for _ in range(10):
        await asyncio.sleep(0)
    asking = asyncio.ensure_future(client.ask("top"))
    await peer.take()
    peer.send({"id": 2, "is": "end"})
    await asyncio.sleep(0)
    assert not asking.done()
    del request

    assert (await asking)["id"] == 2


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[1]\n", b"\xff\xfe\n", b'{"id":{}}\n', b'{"id":1,"is":[]}\n']
)
async def test_a_line_of_another_protocol_ends_the_connection(pair, line):
    client, peer = pair
    request = client.request("tail")
    peer.writer.write(line)

    with pytest.raises(ProtocolError, match="not of this protocol"):
        await anext(request)


async def test_a_line_that_is_too_long_ends_the_connection(pair):
    client, peer = pair
    request = client.request("tail")
    peer.writer.write(b" " * (client_module.MAX_LINE + 1) + b"\n")

    with pytest.raises(ProtocolError):
        await anext(request)


async def test_a_request_that_is_too_long_is_not_sent(pair):
    client, peer = pair

    with pytest.raises(ValueError, match="at most 1,048,576 bytes"):
        client.request("emit", event="x" * client_module.MAX_LINE)
    client.request("top")
    assert (await peer.take())["do"] == "top"


@pytest.mark.parametrize("value", [2**70, "\ud800", object()])
async def test_a_request_that_is_not_json_is_not_sent(pair, value):
    client, _ = pair

    with pytest.raises(ValueError, match="a request must be JSON"):
        client.request("emit", event=value)


@pytest.mark.parametrize("first", [b"220 mail ESMTP\r\n", b"{}\n", b"5\n", b" " * 2_000_000])
async def test_another_server_is_not_a_control_socket(serve, first):
    path, _ = await serve(first)

    with pytest.raises(ProtocolError, match="not a control socket of edr"):
        await connect(path)


async def test_another_version_of_the_protocol_is_an_error(serve):
    path, _ = await serve({**HELLO, "edr": 2})

    with pytest.raises(ProtocolError, match="uses version 2 of the control protocol"):
        await connect(path)


async def test_a_refused_connection_is_an_error(serve):
    error = {"is": "error", "code": "not_permitted", "detail": "another user"}
    path, _ = await serve(error)

    with pytest.raises(RemoteError, match="another user"):
        await connect(path)


async def test_a_process_that_sends_nothing_is_reported(serve, monkeypatch):
    monkeypatch.setattr(client_module, "HELLO_TIMEOUT", 0.01)
    path, _ = await serve(None)

    with pytest.raises(ConnectionLostError, match="its event loop is blocked"):
        await connect(path)


async def test_a_missing_socket_is_reported(folder):
    with pytest.raises(ConnectionLostError, match="no process accepts connections"):
        await connect(f"{folder}/x.1.sock")


@pytest.mark.slow
def test_the_client_loads_neither_pydantic_nor_the_bus():
    code = (
        "import sys, edr; edr.control.connect, edr.control.find; "
        "print([n for n in ('pydantic', 'edr.bus', 'edr.records', 'anyio') if n in sys.modules])"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, env={**os.environ})

    assert loaded == "[]\n"
