"""``CatchUp``: reads entries for a client that is older than the window, from the journal.

It reads up to the end of the window, and not to the end of the journal. The journal may be ahead of
the window, and the client would receive the entries in between twice. After each read it checks
whether all later entries are in the window. If so, the client joins the log of its group in the
same step, without an await after which this could be wrong.

A client that lags again reads the journal again. So only retention and damage can cause a loss; the
journal reports it as a gap.

At most ``MAX_READS`` clients read at the same time. A client that does not take its items does
not count: it reads the next batch when it has taken everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edr._util.backoff import Backoff
from edr.bus import RateLimitedLog
from edr.journal import Entry, Journal, JournalError
from edr.streams.group import Group
from edr.streams.record import Record

BATCH = 256
"""Entries that are read at a time, for one client."""

MAX_BYTES = 128 * 1024
"""Bytes of JSON after which no further entry of a batch is kept, since the client may be stuck."""

MAX_READS = 4
"""Clients that read the journal at the same time. The disk serves one after the other anyway."""

FIRST_PAUSE, MAX_PAUSE = 0.1, 5.0
"""Seconds before the journal is read again, after it could not be read."""


class Removed(NamedTuple):
    """Entries that retention or damage removed."""

    missed: int
    """How many, matching or not."""


class CatchUp:
    """The reads of one client.

    Args:
        journal: the journal.
        reads: limits the number of concurrent reads.
        group: the group of the client.
        after: the position after which to begin.
        on_items: called when there are items, or when the client is in the window.
        log: logs errors of the journal.
    """

    def __init__(
        self,
        journal: Journal,
        reads: asyncio.Semaphore,
        group: Group,
        after: int,
        *,
        on_items: Callable[[], object],
        log: RateLimitedLog,
    ) -> None:
        self.items: deque[Record | Removed] = deque()
        """The entries that were read, for the client to take."""
        self.at: int = after
        """The position up to which ``items`` has everything."""
        self.index: int | None = None
        """The index in the log of the group where the client continues, when it is known."""
        self._journal = journal
        self._reads = reads
        self._group = group
        self._on_items = on_items
        self._log = log
        self._is_taken = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def all_taken(self) -> None:
        """Read more: the client has taken all items."""
        self._is_taken.set()

    def close(self) -> None:
        """Stop."""
        self._task.cancel()

    async def _run(self) -> None:
        backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        while self.index is None:
            try:
                items, reached = await self._read()
            except JournalError as exc:
                self._log.log(
                    logging.ERROR,
                    "catch up",
                    "a client of a stream could not read the journal: %s",
                    exc,
                )
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            self._is_taken.clear()
            self._add(items, reached)  # no await between the read and the join
            self._join()
            if self.items or self.index is not None:
                self._on_items()
            if self.items and self.index is None:
                await self._is_taken.wait()

    async def _read(self) -> tuple[list[Entry | Removed], int]:
        view = self._group.view
        async with (
            self._reads,
            self._journal.cursor(*view.tap_bindings, after=self.at, live=False) as cursor,
        ):
            items = await cursor.take(BATCH)
            found = [i if isinstance(i, Entry) else Removed(i.missed) for i in items]
            return found, cursor.position

    def _add(self, items: list[Entry | Removed], reached: int) -> None:
        """Keep the items that the window has or had; later ones come from the window."""
        window, view = self._group.window, self._group.view
        size = 0
        for item in items:
            if isinstance(item, Removed):
                self.items.append(item)
                continue
            if item.position > window.newest:
                break
            if size > MAX_BYTES:
                return  # the others are read again
            if view.admits(item.event):
                cut = view.grant.cut(item.event)
                record = window.make_record(item.position, item.event, cut)
                self.items.append(record)
                size += len(record.json)
            self.at = item.position
        self.at = max(self.at, min(reached, window.newest))

    def _join(self) -> None:
        """Continue in the log of the group, if it has everything after ``at``."""
        group = self._group
        if self.at + 1 >= max(group.window.first, group.log_from) and not group.is_filling:
            self.index = group.log.find(self.at + 1)
