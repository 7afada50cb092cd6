import asyncio
import shutil
import socket
import ssl
import subprocess
import sys

import pytest

from edr.bus import RateLimitedLog
from edr.web import Server
from edr.web import server as module

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def hello(scope, receive, send):
    body = f"{scope['client'][0]} {scope['scheme']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("listen", ["8490", ":8490", "localhost:x", "localhost:99999", ""])
def test_listen_must_be_a_host_and_a_port(listen):
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        Server(hello, listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "ops.example.net:80"])
def test_address_of_the_network_needs_tls(listen):
    with pytest.raises(ValueError, match="must be a loopback address"):
        Server(hello, listen)
    Server(hello, listen, behind_proxy=True)
    Server(hello, listen, certificate="cert.pem")


async def test_server_has_a_port_and_a_url(client_of):
    async with Server(hello, "127.0.0.1:0") as server:
        answer = await client_of(server).get("/")

        assert server.url == f"http://127.0.0.1:{server.port}"
        assert await answer.body() == b"127.0.0.1 http"


async def test_address_in_use_is_an_error(client_of):
    async with Server(hello, "127.0.0.1:0") as server:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.port}"):
            await Server(hello, f"127.0.0.1:{server.port}").start()


async def test_missing_certificate_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        await Server(hello, "127.0.0.1:0", certificate=str(tmp_path / "none.pem")).start()


@pytest.mark.parametrize(("behind_proxy", "seen"), [
    (False, b"127.0.0.1 http"),
    (True, b"203.0.113.7 https"),
])  # fmt: skip
async def test_headers_of_a_proxy_are_read_from_a_named_one(client_of, behind_proxy, seen):
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    async with Server(hello, "127.0.0.1:0", behind_proxy=behind_proxy) as server:
        answer = await client_of(server).get("/", forwarded)

        assert await answer.body() == seen


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is an option of Linux")
async def test_connections_inherit_the_options_of_the_listening_socket():
    listener = await module._listen("127.0.0.1", 0)
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    timeout = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    assert timeout == module.USER_TIMEOUT
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * module.SEND_BUFFER
    for each in (client, accepted, listener):
        each.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"])
async def test_headers_that_do_not_arrive_end_the_connection(monkeypatch, sent):
    monkeypatch.setattr(module, "HEADER_TIMEOUT", 0.05)
    async with Server(hello, "127.0.0.1:0") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        async with asyncio.timeout(3):  # less than the time-outs of uvicorn
            with pytest.raises(ConnectionResetError):
                while await reader.read(1000):
                    pass
                raise ConnectionResetError
        writer.close()


async def test_second_request_must_arrive_in_time_after_a_long_first_one(monkeypatch):
    monkeypatch.setattr(module, "HEADER_TIMEOUT", 0.05)

    async def slow(scope, receive, send):
        await asyncio.sleep(0.1)
        await hello(scope, receive, send)

    async with Server(slow, "127.0.0.1:0") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
        async with asyncio.timeout(3):  # less than the time-outs of uvicorn
            with pytest.raises(ConnectionResetError):
                while await reader.read(1000):
                    pass
                raise ConnectionResetError
        writer.close()


async def test_body_after_the_answer_ends_the_connection(monkeypatch):
    monkeypatch.setattr(module, "HEADER_TIMEOUT", 0.05)
    async with Server(hello, "127.0.0.1:0") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        assert b" 200 " in await reader.readline()
        async with asyncio.timeout(3):
            with pytest.raises(ConnectionError):
                while True:  # a byte at a time, so that no time-out of uvicorn ends it
                    writer.write(b"x")
                    await asyncio.sleep(0.01)
                    await writer.drain()
        writer.close()


async def test_answer_may_be_read_for_longer_than_headers_may_take(monkeypatch):
    monkeypatch.setattr(module, "HEADER_TIMEOUT", 0.05)
    body = b"x" * 8 * 2**20

    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async with Server(large, "127.0.0.1:0") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        [connection] = server._server.server_state.connections
        deadline = connection._deadline
        while connection._deadline is deadline:
            await asyncio.sleep(0.01)

        assert len(await reader.read(-1)) > len(body)
        writer.close()


FRAGMENT, PING = b"\x00\x80\0\0\0\0", b"\x89\x80\0\0\0\0"


@pytest.mark.parametrize(("frame", "allowed"), [
    (FRAGMENT, module.MAX_FRAGMENTS),
    (PING, int(module.PING_BURST)),
])  # fmt: skip
async def test_flood_of_pings_or_fragments_ends_the_connection(serve, frame, allowed):
    _, server = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HANDSHAKE + b"\x01\x80\0\0\0\0" + frame * (allowed - 1))
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(2)  # hello, or the answer to the first ping
    writer.write(frame * 1000)
    async with asyncio.timeout(3):
        with pytest.raises(ConnectionResetError):
            while await reader.read(1000):
                pass
            raise ConnectionResetError
    writer.close()


async def test_connections_leave_files_to_the_program(monkeypatch, caplog):
    monkeypatch.setattr(module, "max_connections", lambda: 2)
    monkeypatch.setattr(module, "_log", RateLimitedLog())
    async with Server(hello, "127.0.0.1:0") as server:
        opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        assert await opened[2][0].read(1) == b""
        opened[0][1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

        assert b" 200 " in await opened[0][0].readline()
        assert "has 2 connections and closed a further one" in caplog.text
        for _, writer in opened:
            writer.close()


def test_number_of_connections_depends_on_the_limit_of_files(monkeypatch):
    resource = pytest.importorskip("resource")
    for files, most in ((resource.RLIM_INFINITY, sys.maxsize), (1024, 824), (256, 128)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert module.max_connections() == most


@pytest.mark.parametrize("headers", ["X: 1\r\n" * 200, f"X: {'x' * 10_000}\r\n"])
async def test_handshake_that_websockets_refuses_is_answered(serve, headers):
    _, server = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HANDSHAKE.replace(b"\r\n", b"\r\n" + headers.encode(), 1))
    async with asyncio.timeout(3):
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_body_with_two_lengths_ends_the_connection(serve):
    _, server = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = b"POST /recent HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\n"
    lengths = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    writer.write((head + lengths) * 2)
    async with asyncio.timeout(3):
        answer = await reader.read(-1)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_headers_that_are_too_large_are_refused():
    async with Server(hello, "127.0.0.1:0") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * module.MAX_HEADERS)

        assert b" 400 " in await reader.readline()
        writer.close()


async def test_close_stops_the_application_first(client_of):
    calls = []

    class App:
        async def __call__(self, scope, receive, send):
            await hello(scope, receive, send)

        async def stop(self):
            calls.append("stop")

    server = Server(App(), "127.0.0.1:0")
    await server.start()
    await server.start()
    await server.aclose()
    await server.aclose()

    assert calls[0] == "stop"
    with pytest.raises(OSError):
        await client_of(server).get("/")


@pytest.mark.slow
async def test_request_that_does_not_end_is_aborted_at_the_close(client_of):
    async def never(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    async with Server(never, "127.0.0.1:0") as server:
        await client_of(server).get("/")
        started = loop.time()

    assert loop.time() - started < 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is an option of Linux")
async def test_socket_of_a_peer_that_stopped_reading_is_freed(
    monkeypatch, serve, client_of, publish
):
    monkeypatch.setattr(module, "USER_TIMEOUT", 500)
    _, server = await serve(send_timeout=0.2)
    connections = server._server.server_state.connections
    await client_of(server).request("GET", "/events", buffer=4096)
    for n in range(1500):
        publish(n, account_id="x" * 500)
    async with asyncio.timeout(10):
        while connections:
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_close_resets_peers_that_do_not_read(serve, client_of, publish):
    _, server = await serve()
    await client_of(server).request("GET", "/events", buffer=4096)
    for n in range(1500):
        publish(n, account_id="x" * 500)
    await server.aclose()

    assert not server._server.server_state.connections


@pytest.mark.slow
async def test_all_clients_may_return_within_a_second(serve, client_of, publish):
    _, server = await serve()
    client = client_of(server)
    publish(1)
    streams = await asyncio.gather(*[client.events(last=1) for _ in range(25)])
    for stream, _ in streams:
        assert (await stream.block()).n == 1
        stream.reset()
    again = await asyncio.gather(
        *[client.events({"Last-Event-ID": stream.last_id}) for stream, _ in streams]
    )
    publish(2)

    assert [(await stream.block()).n for stream, _ in again] == [2] * 25


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_server_with_a_certificate_speaks_tls(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -nodes -days 2 -subj /CN=localhost -newkey ec"
    options = ["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", certificate]
    await asyncio.to_thread(
        subprocess.run, [*command.split(), *options], check=True, capture_output=True
    )
    trust = ssl.create_default_context(cafile=certificate)
    async with Server(hello, "127.0.0.1:0", certificate=str(certificate), key=str(key)) as server:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=trust, server_hostname="localhost"
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert server.url.startswith("https://")
    assert b"127.0.0.1 https" in answer
