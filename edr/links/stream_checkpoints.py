"""``Checkpoints``: the ack floor and the losses of an open consumer, written at the server.

A closed consumer has its whole state there. After a crash there is only the last checkpoint. So one
is written after each loss, and before retention reaches the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from edr.links.errors import LinkError


class Checkpoints:
    """The checkpoints of one consumer, written one after the other.

    Args:
        write: writes an ack floor and the number of missed entries.
    """

    def __init__(self, write: Callable[[int, int], Awaitable[None]]) -> None:
        self.at: int = 0
        """The ack floor in the last checkpoint."""
        self.is_due: bool = False
        """Whether there was a loss since."""
        self._write = write
        self._task: asyncio.Task[None] | None = None

    def begin(self, floor: int, missed: int) -> None:
        """Start to write a checkpoint, if there is something new and none is being written."""
        is_writing = self._task is not None and not self._task.done()
        if (self.is_due or floor > self.at) and not is_writing:
            self.is_due = False
            self._task = asyncio.get_running_loop().create_task(self._run(floor, missed))

    async def _run(self, floor: int, missed: int) -> None:
        with suppress(LinkError, ConnectionError, TimeoutError, LookupError):
            await self._write(floor, missed)
            self.at = floor

    async def stop(self) -> None:
        """Stop writing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
