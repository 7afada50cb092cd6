"""Clients of a web server, in a process of their own: they count events, and cost the server only.

python -m benchmarks.harness.web_clients PORT COUNT EVENTS

The rest is JSON on the standard input: ``{"requests": [...], "frames": [...], "ready": "…",
"marker": "…", "reads": true}``. It prints ``ready`` when each client has received the text
``ready``, and then the number of events as soon as all have ``EVENTS``, or after a minute.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress

TIMEOUT = 60.0


class Client(asyncio.Protocol):
    """One connection. It counts how often ``marker`` comes."""

    def __init__(self, request: bytes, plan: Plan) -> None:
        self._request = request
        self._plan = plan
        self._tail = b""
        self._is_ready = False
        self._frames = plan.frames

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        plan, data = self._plan, self._tail + data
        if not self._is_ready:
            if self._frames and b"\r\n\r\n" in data:
                self._transport.write(b"".join(map(masked, self._frames)))
                self._frames = []
            if plan.ready not in data:
                self._tail = data
                return
            self._is_ready = True
            plan.became_ready()
            if not plan.reads:
                self._transport.pause_reading()
        found = data.count(plan.marker)
        self._tail = data[-len(plan.marker) + 1 :]
        if found:
            plan.received(found)


class Plan:
    """What the clients do, and how many are ready and done."""

    def __init__(self, document: dict[str, object], count: int, events: int) -> None:
        self.requests = [str(each).encode() for each in document["requests"]]  # type: ignore[attr-defined]
        self.frames = [str(each).encode() for each in document["frames"]]  # type: ignore[attr-defined]
        self.ready = str(document["ready"]).encode()
        self.marker = str(document["marker"]).encode()
        self.reads = bool(document["reads"])
        self._unready = count
        self._left = count * events
        self.total = 0
        self.all_ready = asyncio.Event()
        self.all_received = asyncio.Event()

    def became_ready(self) -> None:
        self._unready -= 1
        if not self._unready:
            self.all_ready.set()

    def received(self, count: int) -> None:
        self.total += count
        self._left -= count
        if self._left <= 0:
            self.all_received.set()


def masked(payload: bytes) -> bytes:
    """Return a frame of text. A mask of zeros leaves it as it is."""
    assert len(payload) < 2**16
    head = [0x81, 0x80 | len(payload)]
    if len(payload) > 125:
        head = [0x81, 0xFE, *len(payload).to_bytes(2, "big")]
    return bytes(head) + b"\0\0\0\0" + payload


async def run(port: int, count: int, events: int) -> None:
    plan = Plan(json.loads(sys.stdin.readline()), count, events)
    loop = asyncio.get_running_loop()
    transports = []
    for n in range(count):
        request = plan.requests[n % len(plan.requests)]
        transport, _ = await loop.create_connection(
            lambda request=request: Client(request, plan),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        transports.append(transport)
    async with asyncio.timeout(TIMEOUT):
        await plan.all_ready.wait()
    print("ready", flush=True)
    if events:
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await plan.all_received.wait()
        print(plan.total, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the bench has measured
    for transport in transports:
        transport.abort()


if __name__ == "__main__":
    asyncio.run(run(*map(int, sys.argv[1:])))
