"""``Load``: clients that send events to the socket of ``edr run``, whatever happens to it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CLIENTS = 4
LARGEST_SEND = 100
"""Events that a client sends at most before it waits for the answer."""

PAUSE = 0.02
"""Seconds between two sends of a client, at most."""

CLIENT_BITS = 32
"""An event has one number: its client, and 32 bits that rise."""


class Load:
    """Sends numbered events, and keeps the numbers of those that were accepted.

    An event without an answer is not sent again: it counts neither as accepted nor as lost.

    Args:
        path: the socket.
        seed: of the sizes and the pauses.
        pause: seconds between two sends of a client, at most.
    """

    def __init__(self, path: Path, *, seed: int = 0, pause: float = PAUSE) -> None:
        self.accepted: set[int] = set()
        self._path = path
        self._pause = pause
        self._random = random.Random(seed)
        self._next = [client << CLIENT_BITS for client in range(CLIENTS)]
        self._is_ending = False

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send for the time of a block."""
        self._is_ending = False
        clients = [asyncio.create_task(self._run(client)) for client in range(CLIENTS)]
        try:
            yield
        finally:
            self._is_ending = True
            await asyncio.wait(clients, timeout=5)  # they may wait for an answer
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    async def wait_accepted(self, more: int) -> None:
        """Wait until ``more`` events were accepted."""
        goal = len(self.accepted) + more
        while len(self.accepted) < goal:  # noqa: ASYNC110 - the clients do not announce it
            await asyncio.sleep(0.005)

    async def _run(self, client: int) -> None:
        while not self._is_ending:
            with suppress(OSError, ValueError):  # ValueError: an answer that was cut off
                await self._converse(client)
            await asyncio.sleep(0.01)

    async def _converse(self, client: int) -> None:
        answers, lines = await asyncio.open_unix_connection(self._path)
        try:
            while not self._is_ending:
                count = self._random.randint(1, LARGEST_SEND)
                numbers = range(self._next[client], self._next[client] + count)
                self._next[client] += count
                lines.write(b"".join(map(line_of, numbers)) + b"\n")
                answer = json.loads(await answers.readline())
                self.accepted.update(numbers[: answer["accepted"]])
                if "not_stored" in answer:
                    return
                await asyncio.sleep(self._random.uniform(0, self._pause))
        finally:
            lines.transport.abort()


def line_of(number: int) -> bytes:
    """Return an event as a line."""
    severity = "critical" if number % 10 == 0 else "ok"
    return (
        b'{"app_name":"load","app_version":"1","severity":"%s","verbosity":"info",'
        b'"body":{"n":%d,"call_id":"b7f4c2","caller":"+4930123456","state":"answered"}}\n'
        % (severity.encode(), number)
    )
