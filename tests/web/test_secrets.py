"""No token, ticket or cookie is in a log line, an answer or an exception."""

import asyncio
import logging
import socket
from contextlib import closing
from types import SimpleNamespace

import pytest
import uvicorn

from edr.web import Blackhole, Gateway, Grant, Server

SENT = "s3cret-7f1e"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.fixture
def said(caplog, capfd):
    """Return everything that was logged or printed, at any level."""
    caplog.set_level(logging.DEBUG)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "edr"):
        caplog.set_level(logging.DEBUG, name)

    def said():
        formatted = [caplog.handler.format(record) for record in caplog.records]
        return "\n".join([*formatted, *capfd.readouterr()])

    return said


def raises(token, peer):
    raise ValueError(f"{token} of {peer}")


async def rejects(token, peer):
    raise KeyError(token)


AUTHENTICATORS = [
    lambda token, peer: Grant("acme") if token else None,
    lambda token, peer: None,
    lambda token, peer: token,
    raises,
    rejects,
]
HEADER = {"Authorization": f"Bearer {SENT}"}
COOKIE = {"Cookie": f"edr={SENT}"}


REQUESTS = [
    ("/recent", HEADER),
    ("/recent?severity=bad", HEADER),
    ("/recent", {**COOKIE, "Sec-Fetch-Site": "same-origin"}),
    ("/recent", {**COOKIE, "Origin": "null"}),
    ("/recent", {"Authorization": f"Basic {SENT}"}),
    (f"/recent?token={SENT}", {}),
    (f"/recent?access_token={SENT}", HEADER),
    (f"/recent?ticket={SENT}", {}),
    (f"/recent?ticket={SENT}&sevrity=ok", {}),
    (f"/nothing?ticket={SENT}", HEADER),
]


@pytest.mark.parametrize("authenticate", AUTHENTICATORS)
async def test_secret_is_in_no_log_and_in_no_answer(serve, client_of, said, authenticate):
    _, server = await serve(authenticate=authenticate)
    client = client_of(server, None)
    for path, headers in REQUESTS:
        answer = await client.get(path, headers)
        assert SENT not in f"{await answer.body()} {answer.headers}"

    assert SENT not in said()


async def test_ticket_that_is_used_is_in_no_log(serve, client_of, said):
    _, server = await serve()
    ticket = (await (await client_of(server).post("/ticket")).json())["ticket"]
    for _ in range(2):
        await client_of(server, None).get("/events", ticket=ticket)
        await client_of(server, None).get("/nothing", ticket=ticket)

    assert ticket not in said()


@pytest.mark.parametrize("app", ["gateway", "blackhole"])
@pytest.mark.parametrize("path", ["/nothing", "/ws", "/"])
async def test_query_of_a_websocket_is_in_no_log(bus, client_of, said, app, path):
    def authenticate(token, peer):
        return None

    made = (
        Gateway(bus, authenticate=authenticate)
        if app == "gateway"
        else Blackhole(bus, authenticate)
    )
    async with Server(made, "127.0.0.1:0") as server:
        for name in ("token", "ticket"):
            await client_of(server, None).get(path, HANDSHAKE, **{name: SENT})

    logged = said()
    assert f'"WebSocket {path}"' in logged
    assert "ERROR" not in logged
    assert SENT not in logged


async def test_query_is_removed_before_another_server_logs_it(bus, client_of, said):
    gateway = Gateway(bus, authenticate=lambda token, peer: None)
    config = uvicorn.Config(gateway, port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve([listener]))
        answer = await client_of(SimpleNamespace(port=port), None).get(f"/events?ticket={SENT}")
        server.should_exit = True
        await serving

    logged = said()
    assert answer.status == 401
    assert "GET /events" in logged
    assert SENT not in logged
