"""``EntryBatches``: the batches of a consumer, for sinks where each call is expensive."""

from __future__ import annotations

import asyncio
from typing import Protocol, Self

from edr import Gap
from edr.journal.journal import Entry
from edr.journal.options import check_at_least, check_seconds


class Takes(Protocol):
    """A cursor or a consumer."""

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Return the next items, at most ``limit``; see ``Cursor``."""
        ...


class EntryBatches:
    """The batches of a consumer. Made by ``Consumer.batches``.

    Args:
        source: supplies the entries.
        max_size: the most items in a batch.
        max_wait: seconds to wait for further entries.
    """

    def __init__(self, source: Takes, max_size: int, max_wait: float) -> None:
        check_at_least("max_size", max_size, 1)
        check_seconds("max_wait", max_wait)
        self._source = source
        self._max_size = max_size
        self._max_wait = max_wait
        self._batch: list[Entry | Gap] = []
        """The items of the next batch so far. A cancelled call leaves them to the next one."""
        self._due = 0.0
        """When this batch is complete, in the loop's time."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Entry | Gap]:
        """Return the next batch. Cancellation: safe; the next call continues with its entries."""
        if not self._batch:
            self._batch = await self._source.take(self._max_size)
            if not self._batch:
                raise StopAsyncIteration
            self._due = asyncio.get_running_loop().time() + self._max_wait
        if self._max_wait:
            await self._fill()
        batch, self._batch = self._batch, []
        return batch

    async def _fill(self) -> None:
        try:
            async with asyncio.timeout_at(self._due):
                while len(self._batch) < self._max_size:
                    more = await self._source.take(self._max_size - len(self._batch))
                    if not more:
                        return
                    self._batch += more
        except TimeoutError:
            return
