"""``RecentEntries``: the newest entries, in memory, so that live readers do not read the disk."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from edr import Event
from edr.journal.codec import time_of
from edr.journal.journal import Entry
from edr.journal.selection import Selection

RECENT_ENTRIES = 2048
"""Entries kept at least, if there are as many. Thousands of events in memory slow down the garbage
collector, so there are more of them only while a reader is a little behind."""

MAX_RECENT_ENTRIES = 8192
"""Entries from which no more are kept for a reader that has not read them: about 8 MiB of small
events. To read an entry from the disk takes 5 us of CPU, so a reader that is behind falls back
further."""

MAX_RECENT_BYTES = 4 << 20
"""Bytes of JSON kept at most, even if these are fewer than ``RECENT_ENTRIES`` entries."""


_new_entry = tuple.__new__  # half the time of ``Entry(…)``


class _Chunk(NamedTuple):
    """The events of one commit. An ``Entry`` is created only when it is read."""

    first: int
    recorded_at: datetime
    events: Sequence[Event]
    bytes: int


class RecentEntries:
    """The newest committed entries, without gaps."""

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self._firsts: list[int] = []
        self._next = 0
        """The position after the newest entry."""
        self._oldest = 0
        """The position of the oldest entry that retention has not removed."""
        self._bytes = 0

    def add(
        self,
        first: int,
        recorded_at: int,
        events: Sequence[Event],
        bytes: int,
        readers: Iterable[int] = (),
    ) -> None:
        """Add the events of a commit.

        Args:
            first: their first position.
            recorded_at: when they were recorded.
            events: the events.
            bytes: their length as JSON.
            readers: the positions up to which readers have read.
        """
        if first != self._next:
            self.clear()
        slowest = min(filter(self.covers, readers), default=first)
        self._chunks.append(_Chunk(first, time_of(recorded_at), events, bytes))
        self._firsts.append(first)
        self._next = first + len(events)
        self._bytes += bytes
        self._forget(self._spare(slowest))
        while self._bytes > MAX_RECENT_BYTES:
            self._forget(1)

    def _spare(self, slowest: int) -> int:
        """Return how many chunks may go, if the slowest of the readers is at ``slowest``."""
        spare = 0
        for begin in self._firsts[1:]:
            kept = self._next - begin
            if kept < RECENT_ENTRIES or (begin > slowest + 1 and kept < MAX_RECENT_ENTRIES):
                break
            spare += 1
        return spare

    def clear(self) -> None:
        """Drop all entries."""
        self._forget(len(self._chunks))

    def forget_before(self, position: int) -> None:
        """Drop the entries before ``position``, which retention has removed."""
        self._oldest = position
        self._forget(max(0, bisect_right(self._firsts, position) - 1))

    def covers(self, after: int) -> bool:
        """Return whether all entries after position ``after`` are here."""
        return bool(self._firsts) and max(self._firsts[0], self._oldest) <= after + 1

    def find(self, selection: Selection, after: int, limit: int) -> tuple[list[Entry], int]:
        """Return the next matching entries after ``after``, and the position searched up to.

        The entries after ``after`` must be here; see ``covers``. At most ``limit`` are returned.
        """
        matches, chunks = selection.matches, self._chunks
        entries: list[Entry] = []
        position = after + 1
        for number in range(bisect_right(self._firsts, position) - 1, len(chunks)):
            first, recorded_at, events, _ = chunks[number]
            for index in range(position - first, len(events)):
                event = events[index]
                if matches(event):
                    entries.append(_new_entry(Entry, (first + index, recorded_at, event, 1)))
                    if len(entries) == limit:
                        return entries, first + index
            position = first + len(events)
        return entries, max(after, self._next - 1)

    def _forget(self, count: int) -> None:
        self._bytes -= sum([chunk.bytes for chunk in self._chunks[:count]])
        del self._chunks[:count], self._firsts[:count]
