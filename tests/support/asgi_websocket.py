"""A WebSocket client of an ASGI application, in the loop of the test and without a socket."""

import asyncio
import json

LIMIT = 10.0
"""Seconds to wait for a frame, on a machine that is busy."""


class AsgiWebSocket:
    """One connection. Use it with ``async with``, which waits until the application has ended.

    ``status`` is that of a refused handshake, ``closed`` the code and the reason of a close frame.
    """

    def __init__(self, app, *, headers=None, client=("203.0.113.7", 50123), extensions=True):
        self.status = None
        self.refusal = b""
        self.closed = None
        self.reads = asyncio.Event()  # cleared: it does not read
        self.reads.set()
        self.is_gone = False
        self._app = app
        self._sent = asyncio.Queue()
        self._received = asyncio.Queue()
        self._is_open = asyncio.Event()
        self._scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": "/",
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
            "client": client,
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}} if extensions else {},
        }

    async def __aenter__(self):
        self._sent.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.get_running_loop().create_task(self._run())
        async with asyncio.timeout(LIMIT):
            await self._is_open.wait()
        return self

    async def __aexit__(self, *_):
        self.reads.set()
        self.leave()
        async with asyncio.timeout(LIMIT):
            await self._task

    def leave(self):
        """Close the connection, as a peer that does not wait for an answer."""
        self._sent.put_nowait({"type": "websocket.disconnect", "code": 1005})

    def send(self, frame):
        """Send text, or bytes as a binary frame, or a document as JSON."""
        if isinstance(frame, bytes):
            self._sent.put_nowait({"type": "websocket.receive", "bytes": frame})
        else:
            text = frame if isinstance(frame, str) else json.dumps(frame)
            self._sent.put_nowait({"type": "websocket.receive", "text": text})

    async def text(self):
        """Return the next frame; ``None`` when the application has closed the connection."""
        async with asyncio.timeout(LIMIT):
            return await self._received.get()

    async def json(self):
        text = await self.text()
        return None if text is None else json.loads(text)

    def texts(self):
        """Return the frames that have arrived."""
        return [self._received.get_nowait() for _ in range(self._received.qsize())]

    async def ask(self, frame):
        """Send a frame and return the reply, after frames of events."""
        self.send(frame)
        while (reply := await self.json()) is not None and reply["action"] != "reply":
            pass
        return reply

    async def _run(self):
        try:
            await self._app(self._scope, self._sent.get, self._send)
        finally:
            self._is_open.set()
            self._received.put_nowait(None)

    async def _send(self, message):
        kind = message["type"]
        await self.reads.wait()
        if self.is_gone:
            raise OSError("the client is gone")
        if kind == "websocket.accept":
            self._is_open.set()
        elif kind == "websocket.send":
            self._received.put_nowait(message["text"])
        elif kind == "websocket.close":
            self.closed = (message["code"], message["reason"])
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        else:
            self.refusal += message["body"]
