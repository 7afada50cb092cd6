"""``JournalFeed``: fills the window of a stream from a journal, instead of from taps.

Positions are those of the journal, so a cursor stays valid when the process restarts. One cursor
reads the journal for all clients. A ``BindingIndex`` finds the groups of each entry. An emit does
not pay for this, and clients receive only stored events, a few milliseconds later.

The feed first fills the window with the newest entries of the journal, so that clients that return
after a restart read from memory. Places begin after that.

If retention or damage removed entries before the feed read them, the window is emptied, and all
clients read the journal from their positions. There each of them is told of the gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from hashlib import blake2b

from edr._util.backoff import Backoff
from edr.bus import RateLimitedLog
from edr.journal import Entry, Journal, JournalError
from edr.records import BindingIndex
from edr.streams.group import Group
from edr.streams.window import Window

BATCH = 256
"""Entries that are read at a time. A batch takes about 2 ms, and then the loop runs."""

FIRST_PAUSE, MAX_PAUSE = 0.1, 5.0
"""Seconds before the journal is read again, after it could not be read."""


def window_id(journal: Journal) -> str:
    """Return the id of the window of ``journal``: 16 hex digits.

    The id of a journal may have characters that a cursor must not have.

    Raises:
        JournalError: the journal was not opened yet.
    """
    return blake2b(journal.id.encode(), digest_size=8).hexdigest()


class JournalFeed:
    """Reads a journal into a window. ``start`` runs it in a task.

    Args:
        journal: is open.
        window: receives the entries.
        size: the number of entries to begin with.
        on_ready: called when the window has the entries that were stored at the start.
        on_gap: called when the window was emptied, since entries are missing in it.
        log: logs errors of the journal.
    """

    def __init__(
        self,
        journal: Journal,
        window: Window,
        size: int,
        *,
        on_ready: Callable[[], object],
        on_gap: Callable[[], object],
        log: RateLimitedLog,
    ) -> None:
        self.is_ready: bool = False
        """Whether the window has the entries that were stored at the start."""
        self._journal = journal
        self._window = window
        self._size = size
        self._on_ready = on_ready
        self._on_gap = on_gap
        self._log = log
        self._groups: BindingIndex[Group] = BindingIndex()
        self._end = journal.statistics().last
        self._position = 0
        """Up to which the journal was read."""
        self._has_read = asyncio.Event()
        self._has_ended = False
        self._task: asyncio.Task[None] | None = None

    @property
    def newest(self) -> int:
        """The position of the newest event of the stream, also if the window is not filled yet."""
        return max(self._window.newest, self._end)

    def add(self, group: Group) -> None:
        """Give the matching entries to ``group``, from the next one on."""
        self._groups.add(group, *group.view.tap_bindings)

    def remove(self, group: Group) -> None:
        """Give no further entry to ``group``."""
        self._groups.remove(group)

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()

    async def caught_up(self) -> None:
        """Wait until the window has all entries that are stored now."""
        await self._journal.flush()
        end = self._journal.statistics().last
        while self._position < end and not self._has_ended:
            self._has_read.clear()
            await self._has_read.wait()

    async def _run(self) -> None:
        backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        try:
            while not self._has_ended:
                try:
                    await self._read(backoff)
                    self._has_ended = True
                except JournalError as exc:
                    self._log.log(
                        logging.ERROR, "feed", "streams could not read the journal: %s", exc
                    )
                    await asyncio.sleep(backoff.next())
        finally:
            self._has_ended = True
            self._has_read.set()

    async def _read(self, backoff: Backoff) -> None:
        """Read until the journal is closed."""
        window = self._window
        if self._position:
            cursor = self._journal.cursor(after=self._position)
        elif self._end:
            cursor = self._journal.cursor(last=self._size)
        else:
            cursor = self._journal.cursor(after=0)
        if not self._end:
            self._set_ready()
        async with cursor:
            while items := await cursor.take(BATCH):
                backoff.reset()
                for item in items:
                    if isinstance(item, Entry):
                        self._add(item)
                    elif window.newest:  # before the first entry, no client can miss anything
                        window.clear(window.newest)
                        self._on_gap()
                self._position = cursor.position
                if self._position >= self._end:
                    self._set_ready()
                self._has_read.set()
                await asyncio.sleep(0)  # a journal that is ahead would not let other tasks run

    def _add(self, entry: Entry) -> None:
        slot = self._window.append(entry.event, entry.position)
        for group in self._groups.match(entry.event):
            group.receive(slot)

    def _set_ready(self) -> None:
        if not self.is_ready:
            self.is_ready = True
            self._on_ready()
