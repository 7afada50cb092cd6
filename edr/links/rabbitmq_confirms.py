"""What was published on one channel and is not confirmed yet: a window, in number and in bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiormq.exceptions import DeliveryError

MOST = 256
"""Events that wait for the broker's confirm: the window of Kazoo's own kind of client, and what is
uncertain at most when a connection is lost."""

MOST_BYTES = 16 * 1024 * 1024
"""The same in bytes of payload, beyond which no further event is sent."""


class Confirms:
    """The publishes of one channel that are on their way.

    Args:
        on_answer: called for each publish that the broker answered, with whether it took it; in the
            order in which they were added, although a broker may answer otherwise. Not for one
            that was cut off, which may have arrived or not, and none behind it.
    """

    def __init__(self, on_answer: Callable[[bool], None]) -> None:
        self._on_answer = on_answer
        self._publishes: deque[tuple[asyncio.Task[Any], int]] = deque()
        self._bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_busy = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._answered_at = 0.0

    async def room(self) -> None:
        """Wait until there is room for a further publish."""
        await self._has_room.wait()

    async def busy(self) -> None:
        """Wait until something is on its way."""
        await self._is_busy.wait()

    async def emptied(self) -> None:
        """Wait until nothing is on its way any more."""
        await self._is_empty.wait()

    def add(self, publish: Coroutine[Any, Any, object], size: int) -> None:
        """Start ``publish``, of so many bytes. What is added first, the library sends first."""
        if not self._publishes:
            self.be_patient()
            self._is_busy.set()
            self._is_empty.clear()
        task = asyncio.get_running_loop().create_task(publish)
        self._publishes.append((task, size))
        task.add_done_callback(self._ended)
        self._bytes += size
        if len(self._publishes) >= MOST or self._bytes >= MOST_BYTES:
            self._has_room.clear()

    def _ended(self, _task: asyncio.Task[Any]) -> None:
        while self._publishes and self._publishes[0][0].done():
            task, size = self._publishes[0]
            exc = None if task.cancelled() else task.exception()
            if task.cancelled() or not (exc is None or isinstance(exc, DeliveryError)):
                return  # cut off; it stays, and so does the window: there is no channel any more
            self._publishes.popleft()
            self._bytes -= size
            self.be_patient()
            self._has_room.set()
            if not self._publishes:
                self._is_busy.clear()
                self._is_empty.set()
            self._on_answer(exc is None)

    @property
    def silent_for(self) -> float:
        """Seconds for which something is on its way and the broker has answered nothing."""
        if not self._publishes:
            return 0.0
        return asyncio.get_running_loop().time() - self._answered_at

    def be_patient(self) -> None:
        """Count ``silent_for`` from now on."""
        self._answered_at = asyncio.get_running_loop().time()

    async def let_go(self) -> None:
        """Cut off what is on its way: the library would let wait for ever what has not begun."""
        tasks = [task for task, _ in self._publishes]
        self._publishes.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
