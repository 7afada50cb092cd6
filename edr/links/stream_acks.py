"""``AckSender``: sends the acks of a consumer in batches, and waits until the server has them.

The server handles acks in order, so only the last one of a batch is sent as a request. An ack stays
in ``pending`` until that request was answered, and is sent again if the connection is lost before.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from edr.links.errors import LinkError
from edr.links.stream_api import StreamApi

ACK_INTERVAL = 0.1
"""Seconds for which acks are collected, at most; also the delay after a failure."""


class Connected(Protocol):
    """The journal, as acks are sent over its connection."""

    timeout: float

    @property
    def api(self) -> StreamApi | None:
        """The API of the present connection."""
        ...


class AckSender:
    """The acks of one consumer, until the server has stored them."""

    def __init__(self, journal: Connected, max_unacked: int) -> None:
        self.pending: dict[int, str] = {}
        """Acks that are not stored yet: the reply subject by position."""
        self.recent: dict[int, None] = {}
        """Positions of stored acks: the server may have redelivered these entries just before."""
        self._journal = journal
        self._max_unacked = max_unacked
        self._is_urgent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def add(self, position: int, reply: str) -> None:
        """Send an ack soon; at once if a quarter of ``max_unacked`` is pending."""
        self.pending[position] = reply
        if len(self.pending) > self._max_unacked // 4:
            self._is_urgent.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._store_soon())

    async def store(self) -> None:
        """Send all pending acks, and return when the server has stored them.

        Raises:
            LinkError, ConnectionError, TimeoutError, LookupError: they stay pending.
        """
        async with self._lock:
            if not self.pending:
                return
            if self._journal.api is None:
                raise ConnectionError("there is no connection")
            connection = self._journal.api.connection
            *earlier, last = positions = list(self.pending)
            for position in earlier:
                connection.publish_nowait(self.pending[position], b"+ACK")
            await connection.ask(self.pending[last], b"+ACK", self._journal.timeout)
            for position in positions:
                self.pending.pop(position, None)
                self.recent[position] = None
            for position in list(self.recent)[: -2 * self._max_unacked]:
                del self.recent[position]

    def clear(self) -> None:
        """Forget all acks: the JetStream consumer that sent these entries is gone."""
        self.pending.clear()
        self.recent.clear()

    async def stop(self) -> None:
        """Stop sending by itself. ``store`` still works."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _store_soon(self) -> None:
        while self.pending:
            with suppress(TimeoutError):
                async with asyncio.timeout(ACK_INTERVAL):
                    await self._is_urgent.wait()
            self._is_urgent.clear()
            try:
                await self.store()
            except (LinkError, ConnectionError, TimeoutError, LookupError):
                await asyncio.sleep(ACK_INTERVAL)
