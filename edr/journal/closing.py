"""``Remainder``: the events and acks that a journal still has when it closes.

The store's thread stores them without an event loop. So it works for every end:
a journal that was closed, a close that was cancelled, the end of the event loop, and the exit of
the program.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from edr import Event
from edr.bus import log_safely
from edr.journal.appender import RefusalLog
from edr.journal.batch import RejectedError
from edr.journal.errors import JournalFullError
from edr.journal.retention import NoRoomYetError
from edr.journal.store import MAX_COMMIT_EVENTS, BlockStore, ConsumerUpdate

logger: logging.Logger = logging.getLogger("edr.journal")


class Commit:
    """A batch that was given to the store, and how many of its events were stored."""

    __slots__ = ("events", "stored", "updates")

    def __init__(self, events: Sequence[Event], updates: Sequence[ConsumerUpdate] = ()) -> None:
        self.events: Sequence[Event] = events
        self.updates: Sequence[ConsumerUpdate] = updates
        self.stored: int = 0

    @property
    def rest(self) -> Commit | None:
        """The unstored part of the batch, or None."""
        if not self.stored:
            return self
        rest = self.events[self.stored :]
        return Commit(rest) if rest else None


class Remainder:
    """The events and acks to store at the end. ``store_in`` runs once, in the store's thread.

    Args:
        name: of the journal, for the log.
        commit: the last batch, if it may have failed. It is stored again unchanged, so that the
            store can detect whether it was stored after all.
        events: the events accepted after that batch.
        updates: the changes of consumers.
    """

    def __init__(
        self,
        name: str,
        commit: Commit | None,
        events: Sequence[Event],
        updates: Sequence[ConsumerUpdate],
    ) -> None:
        self._name = name
        self._commit = commit
        self._events = events
        self._updates = updates
        self._log = RefusalLog()
        self.lost: int = 0
        """Number of events that were not stored."""

    def store_in(self, store: BlockStore) -> None:
        """Store everything, close ``store``, and log the number of unstored events."""
        fault: Exception | None = None
        try:
            fault = self._store(store)
        except Exception as exc:  # any exception: the store must be closed
            fault = exc
        with suppress(Exception):
            store.close()
        if fault is not None:
            self._log_fault(fault)

    def _store(self, store: BlockStore) -> Exception | None:
        batches = [
            Commit(self._events[start : start + MAX_COMMIT_EVENTS])
            for start in range(0, len(self._events), MAX_COMMIT_EVENTS)
        ]
        if self._commit is not None and self._commit.rest is not None:
            batches.insert(0, self._commit.rest)
        self.lost = sum(len(batch.events) for batch in batches)
        fault: Exception | None = None
        if batches or self._updates:
            store.open()
        for batch in batches:
            fault = self._append(store, batch) or fault
        if self._updates:
            store.store_consumers(self._updates, synced=True)
        return fault

    def _append(self, store: BlockStore, batch: Commit) -> Exception | None:
        """Store ``batch`` except events that can never be stored; return the error of one."""
        events, updates = batch.events, batch.updates
        try:
            while events:
                count = store.append(events, updates).stored
                events, updates = events[count:], ()
                self.lost -= count
        except NoRoomYetError as exc:
            return JournalFullError(str(exc))
        except RejectedError as exc:
            half = len(events) // 2
            if not half:
                self._log.refused(events[0], str(exc))
                return exc
            first = self._append(store, Commit(events[:half], updates))
            second = self._append(store, Commit(events[half:]))
            return first or second
        return None

    def _log_fault(self, fault: Exception) -> None:
        why = str(fault) or repr(fault)
        if self.lost:
            log_safely(
                logging.ERROR,
                "%s was closed, and %d events could not be stored: %s",
                self._name,
                self.lost,
                why,
                logger=logger,
            )
        else:
            log_safely(
                logging.ERROR,
                "%s was closed, and the last acks could not be stored: %s",
                self._name,
                why,
                logger=logger,
            )
