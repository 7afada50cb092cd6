"""``SqliteCursor``: a look into a journal, from somewhere on. It remembers nothing."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from edr import Gap
from edr.journal.errors import WrongJournalError
from edr.journal.fetching import Counted, Fetcher, Lost
from edr.journal.following import Follower, OneAtATime, Source, Waiting
from edr.journal.journal import Entry
from edr.journal.selection import Selection


class Start(NamedTuple):
    """Where a reading begins: at most one is not None; without one at the moment it was made."""

    after: int | None
    since: int | None
    """In microseconds since 1970."""
    last: int | None


class SqliteCursor:
    """Made by ``SqliteJournal.cursor``; see ``Cursor``."""

    def __init__(self, source: Source, selection: Selection, start: Start, *, live: bool) -> None:
        self._source = source
        self._selection = selection
        self._start = start
        self._live = live
        self._now = source.assigned_up_to if source.assigned_at_open >= 0 else None
        self._end = 0
        self._follower: Follower | None = None
        self._is_closed = False
        self._waiting = Waiting()
        self._one = OneAtATime("the next entry")

    @property
    def position(self) -> int:
        """Where it stands; before it was asked for an entry, 0."""
        return self._follower.position if self._follower is not None else 0

    @property
    def caught_up(self) -> bool:
        """Whether it has given all that was stored when it last looked."""
        return self._follower is not None and not self._follower.is_behind

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry | Gap:
        """Return the next entry that is wanted; see ``Cursor``."""
        with self._one:
            follower = self._follower
            if follower is None and not self._is_over:
                follower = await self._begin()
            while not self._is_over:
                assert follower is not None
                if not self._live and follower.position >= self._end:
                    break
                item = await follower.next()
                if item is None:
                    if self._live and not self._is_over:
                        await self._wait()
                elif not self._live and item.position > self._end:
                    break
                elif isinstance(item, Lost):
                    return Gap(item.missed)
                else:
                    return item
            self._is_closed = True
            raise StopAsyncIteration

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._source.is_closed

    async def _begin(self) -> Follower:
        source = self._source
        await source.open()
        position = await self._first_position()
        self._end = source.assigned_up_to
        self._follower = Follower(source, self._selection, position)
        return self._follower

    async def _first_position(self) -> int:
        source, (after, since, last) = self._source, self._start
        if after is not None:
            if after > source.assigned_up_to:
                raise WrongJournalError(after, source.id)
            return after
        if since is not None:
            now = source.now()
            return await source.read(lambda disk: disk.before(since, now))
        if last is not None:
            return await self._position_before_last(last)
        return source.assigned_at_open if self._now is None else self._now

    async def _position_before_last(self, count: int) -> int:
        found = Counted(0, count, self._source.assigned_up_to + 1)
        while found.missing:
            found = await self._source.read(partial(_count_back, self._selection, found))
        return found.position if count else self._source.assigned_up_to

    async def _wait(self) -> None:
        self._source.waiting.add(self._waiting)
        try:
            await self._waiting.wait()
        finally:
            self._source.waiting.discard(self._waiting)

    async def aclose(self) -> None:
        """End it. Idempotent."""
        self._is_closed = True
        self._waiting.wake()

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
