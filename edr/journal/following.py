"""``Follower``: walks through a journal from a position, and goes on for ever.

There is no switch from catching up to following live, because there is nothing to switch: it asks
the committed record "what is there behind P?", again and again, and the answer comes from the
tail in memory if that reaches back to P, else from the disk. When there is nothing, it waits to be
woken by the next commit; between the question and the wait nothing else runs, so no commit is
missed.

Rejected: reading the disk up to now and then listening. Between the two there is a seam, and
systems that had one have skipped events for years before somebody noticed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from edr.journal.errors import JournalError
from edr.journal.fetching import Fetched, Fetcher, Lost
from edr.journal.journal import Entry
from edr.journal.recent import RecentEntries
from edr.journal.selection import Selection

T = TypeVar("T")


class Waiting:
    """One who waits for something to change, and all who may wake him."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self, until: float | None = None) -> None:
        """Return when woken, or at the loop's time ``until``; at most one may wait."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = None if until is None else loop.call_at(until, self.wake)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """Wake him, if he waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Source(Protocol):
    """The journal, as those who read see it."""

    recent: RecentEntries
    assigned_up_to: int
    """The newest position that was given."""
    assigned_at_open: int
    """What it was when the journal was opened."""
    is_closed: bool
    """Whether nothing can be read any more."""
    waiting: set[Waiting]
    """Who wants to be woken by the next commit, and by the end."""

    @property
    def id(self) -> str:
        """Names the journal."""
        ...

    async def open(self) -> None:
        """Open it, if it is not open."""
        ...

    def now(self) -> int:
        """Return the time, in microseconds since 1970."""
        ...

    def read(self, query: Callable[[Fetcher], T]) -> asyncio.Future[T]:
        """Ask the disk."""
        ...


class Follower:
    """What somebody wants, and how far he has come.

    Args:
        source: the journal.
        selection: what is wanted.
        position: he has everything up to here.
    """

    def __init__(self, source: Source, selection: Selection, position: int) -> None:
        self._source = source
        self._selection = selection
        self.position: int = position
        self._items: deque[Entry | Lost] = deque()
        self._reached = position
        """Where he stands when ``_items`` are through."""
        self._fetching: asyncio.Future[Fetched] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether there is something that he has not looked at."""
        return bool(self._items) or self.position < self._source.assigned_up_to

    def skip_to(self, position: int) -> None:
        """Stand at ``position``, if not further already."""
        if position > self.position:
            self.position = position
            while self._items and self._items[0].position <= position:
                self._items.popleft()
            if not self._items:
                self._reached = position
            self._fetching = None

    async def next(self) -> Entry | Lost | None:
        """Return what comes next, or None if there is nothing after ``position`` now.

        Cancellation: safe; what was asked of the disk is kept for the next call.
        """
        await self.ready()
        return self.take()

    async def ready(self) -> None:
        """Return when ``take`` knows what comes next. Cancellation: as ``next``."""
        while not self._items:
            self.position = max(self.position, self._reached)
            source = self._source
            if self.position >= source.assigned_up_to or source.recent.covers(self.position):
                return
            await self._fetch()

    def take(self) -> Entry | Lost | None:
        """Return what comes next, directly after ``ready``, or None if there is nothing now."""
        if self._items:
            item = self._items.popleft()
            self.position = item.position
            return item
        if self.position >= self._source.assigned_up_to:
            return None
        entry, self.position = self._source.recent.find(self._selection, self.position)
        return entry

    async def _fetch(self) -> None:
        if self._fetching is None:
            selection, after = self._selection, self.position
            self._fetching = self._source.read(lambda disk: disk.fetch(selection, after))
        fetching = self._fetching
        try:
            fetched = await asyncio.shield(fetching)
        finally:
            if fetching.done() and self._fetching is fetching:
                self._fetching = None
        if self._items or fetched.position <= self.position:
            return  # somebody has moved him meanwhile
        self._items.extend(item for item in fetched.items if item.position > self.position)
        self._reached = fetched.position


class OneAtATime:
    """Refuses a second call while one is under way."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_taken = False

    def __enter__(self) -> None:
        if self._is_taken:
            raise JournalError(f"{self._what} is waited for already, by another task")
        self._is_taken = True

    def __exit__(self, *_: object) -> None:
        self._is_taken = False
