"""``DroppedEntries``: entries that the receiver does not take, until they are kept elsewhere.

A transport drops an event in one step, without waiting. Dead letters must be on the disk before the
entry is acknowledged. So dropped entries wait here, and one task keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from edr._util.backoff import Backoff

if TYPE_CHECKING:
    from edr.journal import Entry

FIRST_DELAY = 0.1
"""Seconds before entries that could not be kept are kept again."""

MAX_DELAY = 10.0
"""Most seconds between two attempts to keep entries: a full disk lasts."""

CLOSE_TIMEOUT = 2.0
"""Seconds to keep the rest at the end. The journal returns the others after the next start."""

KeepDropped: TypeAlias = Callable[[Sequence[tuple["Entry", str]]], Awaitable[None]]
"""Stores entries with the reason of each, and returns when the disk has them."""


class Dropped(NamedTuple):
    """Entries that were settled together."""

    entries: Sequence[Entry]
    refused: int
    """How many of them were refused. The receiver took the others, and does not say which."""
    reason: str
    """The reason under which they are counted."""
    text: str
    """The reason for a person."""


class DroppedEntries:
    """Keeps dropped entries, oldest first.

    Args:
        keep: stores them; it logs its faults, and raises ``OSError`` to be called again later.
        on_kept: called with entries after ``keep`` has stored them.
    """

    def __init__(self, keep: KeepDropped, on_kept: Callable[[Dropped], None]) -> None:
        self._keep = keep
        self._on_kept = on_kept
        self._waiting: list[Dropped] = []
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return the number of entries that are not kept yet."""
        return sum(len(each.entries) for each in self._waiting)

    def add(self, dropped: Dropped) -> None:
        """Keep entries soon."""
        self._waiting.append(dropped)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="edr dropped")

    async def aclose(self) -> None:
        """Keep the rest, within 2 seconds."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        backoff = Backoff(FIRST_DELAY, MAX_DELAY)
        while self._waiting:
            batch = list(self._waiting)
            with suppress(OSError):
                await self._keep([(entry, each.text) for each in batch for entry in each.entries])
                del self._waiting[: len(batch)]
                for each in batch:
                    self._on_kept(each)
                continue
            await asyncio.sleep(backoff.next())
