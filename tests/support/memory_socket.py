"""A WebSocket client of an ASGI application, without a network: frames as Python objects."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass

LIMIT = 1000.0
"""Seconds, of virtual time in most tests, until a frame that does not come fails a test."""


@dataclass(frozen=True)
class Closed:
    """The connection was closed by the application."""

    code: int
    reason: str = ""


@dataclass(frozen=True)
class Refused:
    """The handshake was refused."""

    status: int
    body: dict


class MemorySocket:
    """One connection. It is an async context manager."""

    def __init__(
        self,
        app,
        *,
        token=None,
        path="/ws",
        query="",
        headers=None,
        address="127.0.0.1",
        can_refuse=True,
    ):
        self._app = app
        listed = {"host": "localhost", **(headers or {})}
        if token is not None:
            listed["authorization"] = f"Bearer {token}"
        self.scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": path,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in listed.items()],
            "client": (address, 5000),
            "extensions": {"websocket.http.response": {}} if can_refuse else {},
        }
        self._incoming = asyncio.Queue()
        self._outgoing = asyncio.Queue()
        self.room = asyncio.Event()  # cleared: the client does not read
        self.room.set()
        self.texts = []
        """The frames as they were sent."""
        self.is_open = True

    async def __aenter__(self):
        self._incoming.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.get_running_loop().create_task(
            self._app(self.scope, self._incoming.get, self._send)
        )
        first = await self.next_message()
        if first["type"] == "websocket.accept":
            self.answer = None
        elif first["type"] == "websocket.close":
            self.answer = Refused(403, {})
        else:
            body = (await self.next_message())["body"]
            self.answer = Refused(first["status"], json.loads(body))
        return self

    async def __aexit__(self, *exc):
        self.leave()
        self.room.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(LIMIT):
                await asyncio.wait([self.task])
        if not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()

    async def _send(self, message):
        await self.room.wait()
        if not self.is_open:
            raise OSError
        self._outgoing.put_nowait(message)
        if message["type"] == "websocket.close":
            self.is_open = False

    async def next_message(self):
        async with asyncio.timeout(LIMIT):
            return await self._outgoing.get()

    # As a client

    def send(self, *frames, **frame):
        """Send frames; each is a dict, or text or bytes as they are."""
        for each in [*frames, *([frame] if frame else [])]:
            kind = "bytes" if isinstance(each, bytes) else "text"
            data = each if isinstance(each, (str, bytes)) else json.dumps(each)
            self._incoming.put_nowait({"type": "websocket.receive", kind: data})

    def leave(self):
        """Close the connection, as a client that goes."""
        if self.is_open:
            self.is_open = False
            self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def next(self):
        """Return the next frame, or how the connection was closed."""
        message = await self.next_message()
        if message["type"] == "websocket.close":
            return Closed(message["code"], message["reason"])
        self.texts.append(message["text"])
        return json.loads(message["text"])

    async def ask(self, **frame):
        """Send a request, and return the next frame."""
        self.send(frame)
        return await self.next()

    async def next_events(self):
        """Return the next events as ``number:ids``."""
        frame = await self.next()
        assert frame["is"] == "events", frame
        return [f"{each['event']['body']['n']}:{'+'.join(each['to'])}" for each in frame["events"]]

    @property
    def has_nothing(self):
        """Whether no frame waits to be read."""
        return self._outgoing.empty()
