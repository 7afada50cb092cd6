"""``Collector``: makes batches of the entries of an intake, with limits of events, bytes and time.

A cancelled call keeps its entries for the next one, so the worker can be interrupted while it waits
for the first entry or for more of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime

from edr.bus import Gap
from edr.journal import Entry
from edr.records import Event, FrozenDict, json_size
from edr.sinks.intake import Intake
from edr.sinks.options import Batch

OVERHEAD = 400
"""Bytes that count for an event in addition to its body: its other fields in JSON, roughly."""

READ_AHEAD = 64
"""Entries of a journal taken at once, at least. It halves the cost of batches of one event."""


class Collector:
    """The next batches of an intake.

    Args:
        intake: supplies the entries.
        batch: the limits.
        on_gap: called for lost entries.
        is_skipped: whether an event is not for this sink; such entries are acknowledged.
    """

    def __init__(
        self,
        intake: Intake,
        batch: Batch,
        on_gap: Callable[[Gap], None],
        is_skipped: Callable[[Event], bool],
    ) -> None:
        self.batch: Batch = batch
        self.offered: int = 0
        """Entries for this sink that were taken from the intake."""
        self.has_ended: bool = False
        """Whether the intake has returned its last entry."""
        self._intake = intake
        self._on_gap = on_gap
        self._is_skipped = is_skipped
        self._taken: deque[Entry] = deque()
        """Entries that are not in a batch yet, oldest first."""
        self._due: float | None = None
        """When the next batch is complete, in the loop's time; None before its first entry."""

    def __len__(self) -> int:
        return len(self._taken)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest entry was stored that is not in a batch yet."""
        return self._taken[0].recorded_at if self._taken else None

    def next_nowait(self) -> list[Entry]:
        """Return the next batch if it is complete without waiting, else an empty one."""
        if self._taken and (not self.batch.linger or self._is_complete):
            self._due = None
            return self._cut()
        return []

    async def next(self) -> list[Entry]:
        """Return the next batch; an empty one after the last. Cancellation: safe."""
        while not self._taken and not self.has_ended:
            await self._take()
        if self._due is None and self._taken:
            self._due = asyncio.get_running_loop().time() + self.batch.linger
        if self.batch.linger and self._taken and not self._is_complete:
            await self._linger()
        self._due = None
        return self._cut()

    @property
    def _is_complete(self) -> bool:
        if len(self._taken) >= self.batch.events or self.has_ended:
            return True
        return sum(map(size_of, self._taken)) >= self.batch.bytes

    async def _linger(self) -> None:
        try:
            async with asyncio.timeout_at(self._due):
                while not self._is_complete:
                    await self._take()
        except TimeoutError:
            return

    async def _take(self) -> None:
        # A queue is not read ahead: its events stay under its capacity and overflow policy.
        least = READ_AHEAD if self._intake.is_durable else 1
        items = await self._intake.take(max(least, self.batch.events - len(self._taken)))
        self.has_ended = not items
        skipped = []
        for item in items:
            if isinstance(item, Gap):
                self._on_gap(item)
            elif self._is_skipped(item.event):
                skipped.append(item)
            else:
                self.offered += 1
                self._taken.append(item)
        if skipped:
            self._intake.ack(*skipped)

    def _cut(self) -> list[Entry]:
        if self.batch.events == 1:
            return [self._taken.popleft()] if self._taken else []
        batch: list[Entry] = []
        size = 0
        while self._taken and len(batch) < self.batch.events:
            size += size_of(self._taken[0])
            if batch and size > self.batch.bytes:
                break
            batch.append(self._taken.popleft())
        return batch

    def remove(self, is_unwanted: Callable[[Entry], bool]) -> list[Entry]:
        """Remove and return the entries for which ``is_unwanted`` returns True."""
        removed = [entry for entry in self._taken if is_unwanted(entry)]
        if removed:
            self._taken = deque(entry for entry in self._taken if not is_unwanted(entry))
        return removed


def size_of(entry: Entry) -> int:
    """Return about how many bytes of JSON the event of ``entry`` has."""
    body = entry.event.body
    assert isinstance(body, FrozenDict)  # as every event has
    return json_size(body) + OVERHEAD
