"""Answers of the gateway that are complete at once, as ASGI messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Message, Send

from edr.web.refusals import RefusedError

HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of every answer."""


def start(status: int, headers: Mapping[str, str]) -> Message:
    """Return the message that begins an answer."""
    listed = {**HEADERS, **headers}.items()
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in listed]
    return {"type": "http.response.start", "status": status, "headers": encoded}


def part(body: bytes, *, is_last: bool = False) -> Message:
    """Return the message of a part of an answer."""
    return {"type": "http.response.body", "body": body, "more_body": not is_last}


async def answer(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a whole answer."""
    length = {"Content-Length": str(len(body))}
    await send(start(status, {**headers, **length}))
    await send(part(body, is_last=True))


async def answer_json(send: Send, document: Any, headers: Mapping[str, str]) -> None:
    """Send a JSON document."""
    await answer(send, 200, orjson.dumps(document), {**headers, "Content-Type": "application/json"})


async def refuse(send: Send, refusal: RefusedError, headers: Mapping[str, str]) -> None:
    """Send a refusal."""
    listed = {**headers, **refusal.headers, "Content-Type": "application/json"}
    await answer(send, refusal.status, refusal.body(), listed)
