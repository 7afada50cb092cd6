"""Ways to stream events to web clients: a gateway, and what one would write or install instead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import orjson

import edr
from benchmarks.harness.samples import APP
from edr.web import Gateway, Grant, Limits, Server

MARKER = '"call_id":'
"""A text that each event has once."""

CAPACITY = 10_000


@dataclass(frozen=True)
class Serving:
    """A server that runs, and how its clients connect."""

    port: int
    publish: Callable[[edr.Event], Any]
    requests: list[str]
    ready: str
    frames: list[str] = field(default_factory=list)


def get(target: str) -> str:
    """Return the request of a client that receives server-sent events."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer t\r\n"
        "Accept: text/event-stream\r\n\r\n"
    )


def upgrade(target: str) -> str:
    """Return the handshake of a WebSocket."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer t\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )


HELLO = "event: hello"
SUBSCRIBE = '{"do":"subscribe","id":"a"}'


def gateway_of(bus: edr.Bus, **options: Any) -> Server:
    limits = Limits(clients=5000, per_account=5000, per_address=5000)
    gateway = Gateway(bus, authenticate=lambda *_: Grant.everything(), limits=limits, **options)
    return Server(gateway, "127.0.0.1:0")


@asynccontextmanager
async def _gateway() -> AsyncIterator[tuple[edr.Bus, Server]]:
    async with edr.Bus() as bus, gateway_of(bus) as server:
        yield bus, server


@asynccontextmanager
async def gateway_sse() -> AsyncIterator[Serving]:
    async with _gateway() as (bus, server):
        yield Serving(server.port, bus.publish_nowait, [get("/events")], HELLO)


@asynccontextmanager
async def gateway_filters() -> AsyncIterator[Serving]:
    """As ``gateway_sse``, where each client has a filter of its own, and all match."""
    async with _gateway() as (bus, server):
        filters = [orjson.dumps({"app_name": [APP, f"other-{n}"]}).decode() for n in range(100)]
        requests = [get(f"/events?binding={quote(each)}") for each in filters]
        yield Serving(server.port, bus.publish_nowait, requests, HELLO)


@asynccontextmanager
async def gateway_websocket() -> AsyncIterator[Serving]:
    async with _gateway() as (bus, server):
        yield Serving(
            server.port, bus.publish_nowait, [upgrade("/ws")], '"subscribed"', [SUBSCRIBE]
        )


@asynccontextmanager
async def gateway_journal() -> AsyncIterator[Serving]:
    from edr.journal import SqliteJournal

    with TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal")
        async with (
            edr.Bus(journal=journal) as bus,
            gateway_of(bus, journal=journal) as server,
        ):
            yield Serving(server.port, bus.publish_nowait, [get("/events")], HELLO)


START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")],
}


def by_hand() -> AbstractAsyncContextManager[Serving]:
    """One subscription of the bus for each client, and a write for each event."""
    return _by_hand(1)


def by_hand_in_batches() -> AbstractAsyncContextManager[Serving]:
    """As ``by_hand``, with one write for all events that are ready."""
    return _by_hand(1024)


@asynccontextmanager
async def _by_hand(size: int) -> AsyncIterator[Serving]:
    """Encode each event once for all clients."""
    async with edr.Bus() as bus:
        encoded: dict[str, bytes] = {}

        def block(event: edr.Event) -> bytes:
            found = encoded.get(event.id)
            if found is None:
                if len(encoded) > CAPACITY:
                    encoded.clear()
                found = b"id: %b\ndata: %b\n\n" % (event.id.encode(), event.to_json())
                encoded[event.id] = found
            return found

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            gone = asyncio.ensure_future(_gone(receive))
            subscription = bus.subscribe(capacity=CAPACITY)
            gone.add_done_callback(lambda _: subscription.shutdown())
            await send(START)
            await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
            async for batch in subscription.batches(size):
                body = b"".join(map(block, batch))
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        async with Server(app, "127.0.0.1:0") as server:
            yield Serving(server.port, bus.publish_nowait, [get("/")], ": hello")


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def sse_starlette() -> AsyncIterator[Serving]:
    """The usual recipe: a queue for each client, and ``EventSourceResponse``."""
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.routing import Route

    queues: set[asyncio.Queue[tuple[str, str]]] = set()

    async def endpoint(_request: Any) -> Any:
        queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        queues.add(queue)

        async def events() -> AsyncIterator[dict[str, str]]:
            try:
                yield {"comment": "hello"}
                while True:
                    number, data = await queue.get()
                    yield {"id": number, "data": data}
            finally:
                queues.discard(queue)

        return EventSourceResponse(events())

    def publish(event: edr.Event) -> None:
        item = event.id, event.to_json().decode()
        for queue in queues:
            queue.put_nowait(item)

    app = Starlette(routes=[Route("/", endpoint)])
    async with Server(app, "127.0.0.1:0") as server:
        yield Serving(server.port, publish, [get("/")], ": hello")


@asynccontextmanager
async def litestar_channels() -> AsyncIterator[Serving]:
    """Litestar's plugin with its own WebSocket handler, and its backend in memory."""
    from litestar import Litestar
    from litestar.channels import ChannelsPlugin
    from litestar.channels.backends.memory import MemoryChannelsBackend

    channels = ChannelsPlugin(
        backend=MemoryChannelsBackend(), channels=["events"], create_ws_route_handlers=True
    )
    app = Litestar(plugins=[channels], logging_config=None)

    def publish(event: edr.Event) -> None:
        channels.publish(event.to_json(), "events")

    async with channels, Server(app, "127.0.0.1:0") as server:
        # Litestar subscribes a moment after the handshake; the bench waits for it.
        yield Serving(server.port, publish, [upgrade("/events")], "101 Switching Protocols")
