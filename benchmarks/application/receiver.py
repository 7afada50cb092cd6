"""``Receiver``: an HTTP server that takes events, and fails, resets and stalls some requests."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Self

from benchmarks.application.deliveries import Deliveries, numbers_of

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

FAULTS = {"503": 4, "reset": 4, "reset after storing": 4, "stall": 2}
"""Faults, and the percentage of the requests that have each."""


class Receiver:
    """Receives the requests of an HTTP sink, on a free port.

    Args:
        faults: faults, and the percentage of the requests that have each.
        seed: of the choice of the requests.
    """

    def __init__(self, faults: dict[str, int] | None = None, *, seed: int = 0) -> None:
        self.answered = Deliveries()
        """The events of requests that were answered with 204."""
        self.unanswered: int = 0
        """Events that were stored, but whose request got no answer. They must come again."""
        self.responses: Counter[str] = Counter()
        self.last: str = ""
        """The result of the last request."""
        self.moments: list[float] | None = None
        """When requests arrived, if it is a list."""
        self.port: int = 0
        faults = FAULTS if faults is None else faults
        self._names = [*faults, "204"]
        self._weights = [*faults.values(), 100 - sum(faults.values())]
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def end_faults(self) -> None:
        """Answer all further requests with 204."""
        self._names, self._weights = ["204"], [1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        ends = (asyncio.IncompleteReadError, asyncio.CancelledError, OSError)
        with suppress(*ends):  # a handler that raises CancelledError is reported as a fault
            while await self._answer(reader, writer):
                pass
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return False if the connection must be reset."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if self.moments is not None:
            self.moments.append(monotonic())
        [result] = self._random.choices(self._names, self._weights)
        self.last = result
        self.responses[result] += 1
        if result == "stall":
            await reader.read(1)  # the sink closes the connection
            return False
        if result == "reset":
            return False
        if result == "503":
            writer.write(UNAVAILABLE)
            return True
        if result == "reset after storing":
            self.unanswered += len(list(numbers_of(body)))
            return False
        for number in numbers_of(body):
            self.answered.add(number)
        writer.write(OK)
        return True
