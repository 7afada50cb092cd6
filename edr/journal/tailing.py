"""``Tailing``: the entries of a journal as other processes store them, without a lock.

It looks for news with a few system calls, and then reads the entries after its position. A read is
of one commit, and the position is that of the last entry examined. So each entry is read once,
also across checkpoints, retention, and a restart of the owner.
"""

from __future__ import annotations

import time
from contextlib import suppress

from edr._util.backoff import Backoff
from edr.journal.errors import JournalUnusableError
from edr.journal.fallback import FallbackReader
from edr.journal.fetching import Fetched, Lost
from edr.journal.folder import LOCK
from edr.journal.journal import Entry
from edr.journal.selection import Selection
from edr.journal.snapshot import Snapshot

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between copies of a damaged journal, or looks for a missing folder."""


class Tailing:
    """Returns the matching entries after a position, again and again.

    Args:
        reader: reads the journal.
        selection: matches entries.
        position: start after this position.
    """

    def __init__(self, reader: FallbackReader, selection: Selection, position: int) -> None:
        self._reader = reader
        self._selection = selection
        self._position = position
        self._journal: tuple[str, int | None] | None = None
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._try_again_at = 0.0
        self.is_caught_up: bool = False
        """Whether all stored entries were returned, so that the caller should pause."""

    def next(self) -> list[Entry | Lost]:
        """Return the next items, or an empty list if the journal has no news.

        Raises:
            JournalError: the journal is written faster than it can be read.
        """
        if self.is_caught_up and not self._has_news():
            return []
        self.is_caught_up = True
        try:
            fetched = self._fetch()
        except (JournalUnusableError, OSError):
            # The folder is missing or being replaced, or the disk has no space for a copy.
            self._reader.close()
            self._pause()
            return []
        if fetched.position > self._position:
            self._position = fetched.position
            self.is_caught_up = False
        elif self._reader.has_copy:
            self._reader.drop_copy()
            self._pause()
        else:
            self._backoff.reset()
        return fetched.items

    def _has_news(self) -> bool:
        return time.monotonic() >= self._try_again_at and (
            self._reader.has_copy or self._reader.has_changed()
        )

    def _fetch(self) -> Fetched:
        """Return the next items. Begin with the first entry if another journal is at the path."""
        journal, fetched = self._reader.read(self._query)
        before, self._journal = self._journal, (journal, self._lock_file())
        if before is not None and all(
            new != old for new, old in zip(self._journal, before, strict=True)
        ):
            # A salvage gives the journal another id, but keeps its lock file and its positions.
            self._position = 0
            return self._reader.read(self._query)[1]
        return fetched

    def _query(self, state: Snapshot) -> tuple[str, Fetched]:
        items, position = state.fetcher.fetch(self._selection, self._position)
        # The salvage of a copy skips positions. The journal itself may assign them.
        known = max(self._position, state.last, items[-1].position if items else 0)
        return state.id, Fetched(items, min(position, known))

    def _lock_file(self) -> int | None:
        with suppress(OSError):
            return (self._reader.path / LOCK).stat().st_ino
        return None

    def _pause(self) -> None:
        self._try_again_at = time.monotonic() + self._backoff.next()
