"""``Channel``: one WebSocket as texts, over the raw interface of ASGI.

Starlette's ``WebSocket`` has no refusal of a handshake with a status, and keeps a state that each
frame passes. This is what a session needs, and no more.
"""

from __future__ import annotations

from contextlib import suppress

from starlette.types import Message, Receive, Scope, Send

from edr.web.refusals import RefusedError
from edr.web.responses import part, start

MAX_REASON = 123
"""Bytes of the reason in a close frame; the limit of RFC 6455."""


class DisconnectedError(Exception):
    """The client closed the connection, or it broke."""


class Channel:
    """One WebSocket of a client.

    Args:
        receive: returns the next message of the server.
        send: sends a message to the server.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def refuse(self, scope: Scope, refusal: RefusedError) -> None:
        """Answer the handshake with the status of a refusal.

        A server without the extension for that answers 403.
        """
        scope["query_string"] = b""  # a server logs it with the answer, and it may have a token
        await self._receive()  # the handshake
        if "websocket.http.response" in scope.get("extensions", {}):
            messages = [
                start(refusal.status, {**refusal.headers, "Content-Type": "application/json"}),
                part(refusal.body(), is_last=True),
            ]
        else:
            messages = [{"type": "close"}]
        with suppress(DisconnectedError):
            for message in messages:
                await self._put({**message, "type": f"websocket.{message['type']}"})

    async def accept(self) -> None:
        """Complete the handshake.

        Raises:
            DisconnectedError: the client is gone.
        """
        message = await self._receive()
        if message["type"] != "websocket.connect":
            raise DisconnectedError
        await self._put({"type": "websocket.accept"})

    async def receive(self) -> str | bytes:
        """Return the next frame of the client.

        Raises:
            DisconnectedError: the client is gone.
        """
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise DisconnectedError
        text: str | None = message.get("text")
        data: bytes | None = message.get("bytes")
        return text if text is not None else data or b""

    async def send(self, text: str) -> None:
        """Send a frame. It waits until the server has room for it.

        Raises:
            DisconnectedError: the client is gone.
        """
        await self._put({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str = "") -> None:
        """Close, with a code and a short reason in ASCII. Does nothing if the client is gone."""
        with suppress(DisconnectedError):
            await self._put(
                {"type": "websocket.close", "code": code, "reason": reason[:MAX_REASON]}
            )

    async def _put(self, message: Message) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError):
            # Servers raise OSError. uvicorn raises RuntimeError, if it has just closed for a fault
            # of the client, such as a frame that is too large.
            raise DisconnectedError from None
