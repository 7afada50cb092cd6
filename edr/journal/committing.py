"""``Committer``: has the events of an appender stored, and updates the committed state."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from edr import Event
from edr.journal.closing import Commit
from edr.journal.consumer import STORE_EVERY
from edr.journal.registry import ConsumerRegistry
from edr.journal.state import JournalState
from edr.journal.store import Appended, BlockStore
from edr.journal.worker import Worker


class Committer:
    """Commits the events of one journal, with the changed states of its consumers.

    Args:
        store: stores the events; used in the thread of ``worker``.
        worker: runs the store.
        state: replaced after each commit.
        consumers: their states are stored with the events.
    """

    def __init__(
        self, store: BlockStore, worker: Worker, state: JournalState, consumers: ConsumerRegistry
    ) -> None:
        self._store = store
        self._worker = worker
        self._state = state
        self._consumers = consumers
        self.latest: Commit | None = None
        """The last batch that was given to the store."""

    def commit(self, events: Sequence[Event], *, lacks_room: bool) -> asyncio.Future[Appended]:
        """Store ``events``; see ``EventCommitter``."""
        store, consumers = self._store, self._consumers
        updates = consumers.take_updates(1 if lacks_room else STORE_EVERY)
        commit = self.latest = Commit(events, updates)

        def job() -> Appended:
            store.open()
            appended = store.append(events, updates)
            commit.stored = appended.stored
            return appended

        future = self._worker.submit(job, urgent=True)
        future.add_done_callback(partial(consumers.finish_updates, updates))
        return future

    def committed(self, events: Sequence[Event], appended: Appended) -> None:
        """Update the state after ``events`` were stored; see ``EventCommitter``."""
        self._state.appended(events, appended)
        self._consumers.lost(appended)
        self._state.wake_all()
