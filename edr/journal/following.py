"""``Follower``: reads a journal from a position, first stored entries and then new ones.

Catching up and following live are the same operation. A follower repeatedly reads the committed
entries after its position, from memory if they are recent enough, otherwise from the disk. If there
is nothing to read, it waits for the next commit. No other code runs between the read and the wait,
so no commit is missed.

Rejected: reading the disk up to the present, then subscribing. Entries committed between the two
steps are easily lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from edr.journal.errors import JournalError
from edr.journal.fetching import Fetched, Fetcher, Lost
from edr.journal.journal import Entry
from edr.journal.selection import Selection
from edr.journal.state import JournalState

T = TypeVar("T")


class Read(Protocol):
    """Reads from the disk, in the thread of the store."""

    def __call__(self, query: Callable[[Fetcher], T]) -> asyncio.Future[T]:
        """Return the result of ``query``."""
        ...


class Follower:
    """Returns the matching entries after a position, in order.

    Args:
        state: the committed state of the journal.
        read: reads from the disk.
        selection: matches entries.
        position: start after this position.
    """

    def __init__(
        self, state: JournalState, read: Read, selection: Selection, position: int
    ) -> None:
        self._state = state
        state.keep_recent_for(self)
        self._read = read
        self._selection = selection
        self.position: int = position
        self._items: deque[Entry | Lost] = deque()
        self._reached = position
        """The position after all of ``_items`` were taken."""
        self._fetching: asyncio.Future[Fetched] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether there are entries that were not examined yet."""
        return bool(self._items) or self.position < self._state.committed.assigned_up_to

    def skip_to(self, position: int) -> None:
        """Continue after ``position``, unless already further."""
        if position > self.position:
            self.position = position
            while self._items and self._items[0].position <= position:
                self._items.popleft()
            if not self._items:
                self._reached = position
            self._fetching = None

    def rebind(self, selection: Selection) -> None:
        """Return the entries after ``position`` that match ``selection``.

        Fetched entries that were not taken are fetched again: the new selection may match more.
        """
        self._selection = selection
        self._items.clear()
        self._reached = self.position
        self._fetching = None

    async def ready(self) -> None:
        """Wait until ``take`` can return the next items.

        Cancellation: safe. A read that was begun is kept for the next call.
        """
        while not self._items:
            self.position = max(self.position, self._reached)
            state = self._state
            if self.position >= state.committed.assigned_up_to or state.recent.covers(
                self.position
            ):
                return
            await self._fetch()

    def take(self, limit: int) -> list[Entry] | Lost:
        """Return the next entries, at most ``limit``, or lost ones that come before them.

        The list is empty if no further entry is stored yet. Call it after ``ready``.
        """
        items = self._items
        if not items:
            if self.position >= self._state.committed.assigned_up_to:
                return []
            recent = self._state.recent
            entries, self.position = recent.find(self._selection, self.position, limit)
            return entries
        entries = []
        while items and len(entries) < limit:
            item = items[0]
            if isinstance(item, Lost):
                if entries:
                    break
                items.popleft()
                self.position = item.position
                return item
            entries.append(item)
            items.popleft()
        self.position = entries[-1].position
        return entries

    async def _fetch(self) -> None:
        selection = self._selection
        if self._fetching is None:
            after = self.position
            self._fetching = self._read(lambda disk: disk.fetch(selection, after))
        fetching = self._fetching
        try:
            fetched = await asyncio.shield(fetching)
        finally:
            if fetching.done() and self._fetching is fetching:
                self._fetching = None
        if self._selection is not selection or fetched.position <= self.position:
            return  # ``rebind`` or ``skip_to`` was called during the read
        self._items.extend(item for item in fetched.items if item.position > self.position)
        self._reached = fetched.position


class OneAtATime:
    """Raise ``JournalError`` for a second call while one is running."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_taken = False

    def __enter__(self) -> None:
        if self._is_taken:
            raise JournalError(f"{self._what} must be awaited by one task at a time")
        self._is_taken = True

    def __exit__(self, *_: object) -> None:
        self._is_taken = False
