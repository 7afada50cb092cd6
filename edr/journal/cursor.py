"""``SqliteCursor``: reads a journal from a position. The journal stores nothing about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from edr import Gap
from edr.journal.errors import WrongJournalError
from edr.journal.fetching import Counted, Fetcher, Lost
from edr.journal.following import Follower, OneAtATime, Read
from edr.journal.journal import Entry
from edr.journal.options import check_at_least
from edr.journal.selection import Selection
from edr.journal.state import JournalState, Waiter


class Start(NamedTuple):
    """Where a cursor begins. Only one field is set; if none is, it begins with the next entry."""

    after: int | None
    since: int | None
    """In microseconds since 1970."""
    last: int | None

    async def position(
        self, state: JournalState, read: Read, selection: Selection, now: int
    ) -> int | None:
        """Return the position to begin after; None to begin with the next entry."""
        if self.since is not None:
            since = self.since
            return await read(lambda disk: disk.before(since, now))
        if self.last is None:
            return self.after
        found = Counted(0, self.last, state.committed.assigned_up_to + 1)
        while found.missing:
            found = await read(partial(_count_back, selection, found))
        return found.position if self.last else state.committed.assigned_up_to


class SqliteCursor:
    """A cursor of a ``SqliteJournal``; see ``Cursor``.

    Args:
        state: the committed state of the journal.
        selection: matches entries.
        start: where to begin.
        read: reads from the disk.
        open: opens the journal, and returns its id.
        now: returns the time in microseconds since 1970.
        live: whether to continue with new entries.
    """

    def __init__(
        self,
        state: JournalState,
        selection: Selection,
        start: Start,
        *,
        read: Read,
        open: Callable[[], Awaitable[str]],
        now: Callable[[], int],
        live: bool,
    ) -> None:
        self._state = state
        self._read = read
        self._open = open
        self._clock = now
        self._selection = selection
        self._start = start
        self._live = live
        is_open = state.assigned_at_open >= 0
        self._created_at = state.committed.assigned_up_to if is_open else None
        self._end = 0
        self._follower: Follower | None = None
        self._is_closed = False
        self._waiter = Waiter()
        self._one = OneAtATime("the next entry")

    @property
    def position(self) -> int:
        """Its position; 0 before its first entry was requested. See ``Cursor``."""
        return self._follower.position if self._follower is not None else 0

    @property
    def caught_up(self) -> bool:
        """Whether it has returned all entries that were stored at its last read."""
        return self._follower is not None and not self._follower.is_behind

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry | Gap:
        """Return the next matching entry; see ``Cursor``."""
        items = await self.take(1)
        if not items:
            raise StopAsyncIteration
        return items[0]

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Return the next matching entries; see ``Cursor``."""
        check_at_least("limit", limit, 1)
        with self._one:
            follower = self._follower
            if follower is None and not self._is_over:
                follower = await self._begin()
            while not self._is_over:
                assert follower is not None
                if not self._live and follower.position >= self._end:
                    break
                await follower.ready()
                found = follower.take(limit)
                if not self._live and follower.position > self._end:
                    found = self._until_end(found)
                    follower.position = self._end  # later entries were not examined
                if isinstance(found, Lost):
                    return [Gap(found.missed)]
                if found:
                    return [*found]
                if self._live and not self._is_over:
                    await self._state.wait(self._waiter)
            self._is_closed = True
            return []

    def _until_end(self, found: list[Entry] | Lost) -> list[Entry]:
        return [] if isinstance(found, Lost) else [e for e in found if e.position <= self._end]

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._state.is_closed

    async def _begin(self) -> Follower:
        journal_id = await self._open()
        state = self._state
        after = self._start.after
        if after is not None and after > state.committed.assigned_up_to:
            raise WrongJournalError(after, journal_id)
        position = await self._start.position(state, self._read, self._selection, self._clock())
        if position is None:
            position = self._created_at
        if position is None:  # created before the journal was opened
            position = state.assigned_at_open
        self._end = state.committed.assigned_up_to
        self._follower = Follower(state, self._read, self._selection, position)
        return self._follower

    async def aclose(self) -> None:
        """Close it. Idempotent."""
        self._is_closed = True
        self._waiter.wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _count_back(selection: Selection, found: Counted, disk: Fetcher) -> Counted:
    return disk.count_back(selection, found.missing, found.before)
