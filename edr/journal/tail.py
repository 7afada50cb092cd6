"""``Tail``: the newest entries, in memory. Who follows live never goes to the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from edr import Event
from edr.journal.codec import time_of
from edr.journal.journal import Entry
from edr.journal.selection import Selection

TAIL = 2048
"""Entries that are kept: a follower may fall that far behind before it reads from the disk."""


class Tail:
    """The entries from some position up to the newest, all of them committed."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=TAIL)

    def add(self, first: int, recorded_at: int, events: Sequence[Event]) -> None:
        """Add what was committed at position ``first``."""
        entries = self._entries
        if entries and entries[-1].position != first - 1:
            entries.clear()
        time = time_of(recorded_at)
        entries.extend([Entry(first + i, time, event) for i, event in enumerate(events)])

    def forget_before(self, position: int) -> None:
        """Drop what retention has removed."""
        while self._entries and self._entries[0].position < position:
            self._entries.popleft()

    def covers(self, after: int) -> bool:
        """Tell whether all that is behind ``after`` is here."""
        return bool(self._entries) and self._entries[0].position <= after + 1

    def find(self, selection: Selection, after: int) -> tuple[Entry | None, int]:
        """Return the next wanted entry behind ``after``, which it covers, and how far that is."""
        entries = self._entries
        first = entries[0].position
        for index in range(after + 1 - first, len(entries)):
            entry = entries[index]
            if selection.wants(entry.event):
                return entry, entry.position
        return None, max(after, entries[-1].position)
