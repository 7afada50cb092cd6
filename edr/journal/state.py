"""``JournalState``: the committed state of a journal, as its event loop sees it.

The values of ``committed`` are replaced together after each commit, so a reader on any thread sees
the state of one commit. Nothing here can be taken back by a crash.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from edr import Event
from edr._util.wakeup import wake
from edr.journal.recent import RecentEntries
from edr.journal.store import Appended


class Committed(NamedTuple):
    """The journal after one commit."""

    first: int = 0
    """Position of the oldest entry; 0 if the journal is empty."""
    assigned_up_to: int = 0
    """The newest assigned position. After a crash it may be above that of the newest entry."""
    lost: int = 0
    """Entries that retention removed since the journal was opened."""


class Waiter:
    """A consumer or cursor that waits for a change."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    async def wait(self, until: float | None = None) -> None:
        """Return when woken, or at the loop time ``until``. Only one call may wait."""
        loop = asyncio.get_running_loop()
        future = self._future = loop.create_future()
        timer = None if until is None else loop.call_at(until, self.wake)
        try:
            await future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """Wake the waiting call, if there is one."""
        if self._future is not None:
            wake(self._future)


class Reader(Protocol):
    """A consumer or cursor that follows the journal."""

    position: int
    """The position up to which it has read."""


class JournalState:
    """The committed state of a journal, and the readers that wait for its next change."""

    def __init__(self) -> None:
        self.committed: Committed = Committed()
        self.recent: RecentEntries = RecentEntries()
        self.assigned_at_open: int = -1
        """``assigned_up_to`` when the journal was opened; -1 before that."""
        self.is_closed: bool = False
        self._waiters: set[Waiter] = set()
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()

    def keep_recent_for(self, reader: Reader) -> None:
        """Keep the newest entries in memory from the next commit on, while ``reader`` exists."""
        self._readers.add(reader)

    def opened(self, first: int, assigned_up_to: int) -> None:
        """Set the state that the store has after it was opened."""
        self.committed = Committed(first, assigned_up_to)
        self.assigned_at_open = assigned_up_to

    def appended(self, events: Sequence[Event], appended: Appended) -> None:
        """Add the committed ``events``. ``wake_all`` tells the readers."""
        if self._readers:
            positions = [reader.position for reader in self._readers]
            self.recent.add(appended.first, appended.recorded_at, events, appended.bytes, positions)
        else:  # thousands of events in memory would slow down the garbage collector
            self.recent.clear()
        self.committed = Committed(
            appended.oldest,
            appended.first + len(events) - 1,
            self.committed.lost + appended.lost,
        )
        if appended.lost:
            self.recent.forget_before(appended.oldest)

    def closed(self, first: int, assigned_up_to: int) -> None:
        """Set the state that the store has after it was closed."""
        self.committed = Committed(first, assigned_up_to, self.committed.lost)

    async def wait(self, waiter: Waiter, until: float | None = None) -> None:
        """Return when ``waiter`` is woken, after the next commit, or at the loop time ``until``."""
        self._waiters.add(waiter)
        try:
            await waiter.wait(until)
        finally:
            self._waiters.discard(waiter)

    def wake_all(self) -> None:
        """Wake all readers that wait."""
        for waiter in self._waiters:
            waiter.wake()
