"""``SqliteJournal``: a journal in a folder of this machine, without a server.

This is the part on the event loop. ``Appender`` accepts events, ``BlockStore`` stores them in the
thread of ``Worker``, and ``JournalState`` has the result of the last commit. So cursors and
consumers return only entries that a crash cannot take back.

``benchmarks`` compare it with a database row for each event, a log of segments, and LMDB. Events
that are emitted at the same time share a commit, so the storage engine does not limit throughput,
and one commit changes the whole state at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

from edr import (
    Binding,
    Event,
    InvalidEventError,
    WrongLoopError,
)
from edr.bus import LoopEnd, log_safely
from edr.journal.appender import Appender
from edr.journal.clock import Clock
from edr.journal.closing import Remainder
from edr.journal.codec import microseconds
from edr.journal.committing import Committer
from edr.journal.consumer import SqliteConsumer
from edr.journal.cursor import SqliteCursor, Start
from edr.journal.errors import JournalError
from edr.journal.fetching import Fetcher
from edr.journal.journal import ConsumerStatus, JournalStatistics
from edr.journal.options import (
    check_at_least,
    check_consumer,
    check_seconds,
    check_start,
    checked_bindings,
)
from edr.journal.receipts import Receipt
from edr.journal.registry import ConsumerRegistry
from edr.journal.retention import Limits
from edr.journal.selection import Selection
from edr.journal.state import JournalState
from edr.journal.store import BlockStore
from edr.journal.worker import Worker

logger: logging.Logger = logging.getLogger("edr.journal")

T = TypeVar("T")

EXIT_TIMEOUT = 10.0
"""Seconds that the exit of a program waits for a journal that was not closed."""


class SqliteJournal:
    """A journal in the folder ``path``, which is created (0700) if it is missing. See ``Journal``.

    Events are stored unencrypted, in files that only their owner can read. An event of more than
    64 MiB of JSON is refused (``EventsRefusedError``).

    Args:
        path: a folder for this journal alone, on a local disk, such as ``events.journal``.
        bindings: a bus stores the events that match one of these; by default all from info up.
        max_bytes: bytes on the disk. Beyond that the oldest entries are removed.
        max_age: older entries are removed, about 256 at a time. A jump of the clock, by more than
            a tenth of this or ten minutes, is used only after it has lasted for ten minutes.
        max_events: beyond that the oldest entries are removed, about 256 at a time.
        keep_unread: do not remove unacknowledged entries. When the journal is full, appends and
            emits wait until consumers acknowledge entries or are forgotten.
        sync: ``"disk"``: stored events survive a power failure. ``"process"``: they survive the end
            of the process only, at a fraction of the cost.
        linger: seconds for which plain events are collected for one commit.
        max_pending: events that may wait to be stored.
        clock: returns the time, as ``time.time`` does. If it returns anything but a time from 1970
            to 9999, this is logged and the last valid time is used.

    Raises:
        ValueError, TypeError: an argument is invalid. The folder is not touched before first use.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *bindings: Binding,
        max_bytes: int = 1 << 30,
        max_age: timedelta | None = None,
        max_events: int | None = None,
        keep_unread: bool = False,
        sync: Literal["disk", "process"] = "disk",
        linger: float = 0.01,
        max_pending: int = 16_384,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path: Path = Path(path).absolute()  # absolute, as it is opened again after a fault
        self._bindings = checked_bindings(bindings or (Binding(),))
        check_at_least("max_bytes", max_bytes, 1 << 16)
        check_at_least("max_pending", max_pending, 1)
        if max_events is not None:
            check_at_least("max_events", max_events, 1)
        if max_age is not None and (not isinstance(max_age, timedelta) or max_age <= timedelta(0)):
            raise ValueError(f"max_age must be a timedelta above 0, got {max_age!r}")
        if sync not in {"disk", "process"}:
            raise ValueError(f"sync must be 'disk' or 'process', got {sync!r}")
        check_seconds("linger", linger)
        self._clock = Clock(clock)
        self._store = BlockStore(
            self.path,
            Limits(max_bytes, max_age, max_events, keep_unread),
            full_sync=sync == "disk",
            now=self._clock,
            report=partial(log_safely, logging.ERROR, logger=logger),
        )
        self._worker = Worker(f"edr journal {self.path.name}")
        self._state = JournalState()
        self._consumers = ConsumerRegistry(
            self._store,
            self._worker,
            self._state,
            read=self._read,
            now=self._clock,
            on_stored=self._retry,
        )
        self._committer = Committer(self._store, self._worker, self._state, self._consumers)
        self._appender = Appender(self._committer, linger=linger, max_pending=max_pending)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._opening: asyncio.Future[None] | None = None
        self._is_closing = False
        self._closing: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        """Done when the store is closed."""
        self._loop_end: LoopEnd | None = None
        self._remainder: Remainder | None = None
        self._is_finished = False
        self._id = ""
        weakref.finalize(self, _close_store, self._worker, self._store).atexit = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closing else "open" if self._id else "not open yet"
        newest = self._state.committed.assigned_up_to
        return f"<SqliteJournal {str(self.path)!r} {state}, up to {newest}>"

    @property
    def id(self) -> str:
        """The permanent id of this journal; see ``Journal``."""
        if not self._id:
            raise JournalError(f"{self!r} was not opened yet, so its id is not known")
        return self._store.id or self._id

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """A bus stores the events that match one of these."""
        return self._bindings

    def set_bindings(self, bindings: tuple[Binding, ...]) -> None:
        """Replace ``bindings``; see ``Journal``. Users call ``Bus.record``."""
        self._bindings = bindings

    # Opening and closing

    async def open(self) -> None:
        """Open it, unless it is open; see ``Journal``."""
        if self._state.assigned_at_open >= 0 and not self._is_closing and self._pid == os.getpid():
            self._check_loop()
            return
        self._enter()
        opening = self._opening
        assert opening is not None
        await asyncio.shield(opening)

    def _enter(self) -> None:
        """Check that it can be used here, and begin to open it."""
        self._check_open()
        self._check_loop()
        if self._opening is None or (self._opening.done() and self._opening.exception()):
            store = self._store

            def job() -> tuple[str, int, int]:
                store.open()
                return store.id, store.first, store.next - 1

            future = self._worker.submit(job, urgent=True)
            self._opening = asyncio.get_running_loop().create_future()
            future.add_done_callback(partial(self._opened, self._opening))

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._loop_end = LoopEnd(self._loop_ends)
        elif self._loop is not loop:
            raise WrongLoopError(f"{self!r} belongs to another event loop")

    def _opened(
        self, opening: asyncio.Future[None], future: asyncio.Future[tuple[str, int, int]]
    ) -> None:
        if future.cancelled() or opening.done():
            return
        error = future.exception()
        if error is not None:
            opening.set_exception(error)
            opening.exception()
            return
        if not self._is_finished:  # otherwise the loop ended first, and the state is newer
            self._id, first, self._appender.last = future.result()
            self._state.opened(first, self._appender.last)
        opening.set_result(None)

    async def aclose(self) -> None:
        """Store accepted events and close; see ``Journal``."""
        if self._pid != os.getpid() or self._is_finished:
            return
        if self._opening is None:  # it was never used
            self._is_closing = self._state.is_closed = True
            return
        self._check_loop()
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
        if not self._is_closing:
            self._is_closing = True
            self._closing = asyncio.create_task(self._store_accepted())
            self._closing.add_done_callback(self._accepted_stored)
        await asyncio.shield(self._ended)

    async def drain(self, timeout: float | None = None) -> int:
        """Wait until the handlers of consumers have finished, and close; see ``Journal``."""
        if timeout is not None:
            check_seconds("timeout", timeout)
        failed = self.statistics().failed
        try:
            if self._id and not self._is_closing and self._pid == os.getpid():
                self._check_loop()
                left = await self._consumers.settle(timeout)
                if left:
                    log_safely(
                        logging.WARNING,
                        "%r closes, and consumers did not acknowledge all entries: %s",
                        self,
                        ", ".join(f"{name!r} {count}" for name, count in left.items()),
                        logger=logger,
                    )
        finally:
            await self.aclose()
        return self.statistics().failed - failed

    async def _store_accepted(self) -> None:
        self._appender.close()
        with suppress(JournalError):
            await self._appender.flush()

    def _accepted_stored(self, closing: asyncio.Task[None]) -> None:
        # Called also when the task was cancelled, even before it began.
        if not closing.cancelled() and (fault := closing.exception()) is not None:
            log_safely(
                logging.ERROR, "%r could not store its events", self, exc=fault, logger=logger
            )
        self._end()

    def _end(self) -> None:
        """Begin the end of the store: its thread stores the remaining events and closes the files.

        It does not wait, and works without a running loop.
        """
        if self._remainder is not None:
            return
        self._is_closing = self._state.is_closed = True
        updates = self._consumers.take_updates(0)
        may_fail, events = self._appender.stop(self._closed_error())
        commit = self._committer.latest if may_fail else None
        self._remainder = Remainder(f"journal {str(self.path)!r}", commit, events, updates)
        self._consumers.close()
        self._worker.end(partial(_end_store, self._remainder, self._store, self._notify_ended))
        self._state.wake_all()

    def _notify_ended(self) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed, so no call waits
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        """Set the results of pending events after the store was closed."""
        remainder = self._remainder
        if remainder is None or self._is_finished:
            return
        self._is_finished = True
        newest = self._store.next - 1
        self._state.closed(self._store.first, newest)
        self._appender.finish(remainder.lost, newest)
        if self._loop_end is not None:
            self._loop_end.cancel()
        if self._ended is not None and not self._ended.done():
            with suppress(RuntimeError):  # the loop is closed, so no call waits
                self._ended.set_result(None)

    def _loop_ends(self) -> None:
        """Close it and wait, as its loop or the program ends."""
        if self._opening is None or self._pid != os.getpid():
            return
        self._end()
        if self._worker.join(EXIT_TIMEOUT):
            self._finish()
        else:
            log_safely(
                logging.ERROR,
                "%r could not be closed within %g s; some events may not be stored",
                self,
                EXIT_TIMEOUT,
                logger=logger,
            )

    def _closed_error(self) -> JournalError:
        return JournalError(f"{self!r} was closed; make another journal of this path")

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Appending

    def append_nowait(self, event: Event) -> bool:
        """Accept ``event``, to be stored soon; see ``Journal``."""
        if self._opening is None or self._is_closing or self._pid != os.getpid():
            self._enter()
        return self._appender.accept(event)

    def submit(self, event: Event) -> Receipt | None:
        """Accept ``event``, and return its pending result; see ``Journal``."""
        self._enter()
        return self._appender.submit(event)

    def submit_all(self, events: Sequence[Event]) -> Receipt | None:
        """Accept at most 32 ``events``, and return their pending result.

        It names each event that is refused. ``None``, without a change, if they do not all fit.
        """
        self._enter()
        return self._appender.submit_all(events)

    def report_refused(self, event: Event, reason: str) -> None:
        """Report ``event`` by the next ``flush``; see ``Journal``."""
        self._appender.report_refused(event, reason)

    async def append(self, *events: Event) -> int:
        """Store ``events``; see ``Journal``."""
        for event in events:
            if not isinstance(event, Event):
                raise InvalidEventError(f"events must be edr.Event, got {event!r}")
        # Accept the events before the first wait, so that their order is that of the calls.
        self._enter()
        if not events:
            await self.open()
        return await self._appender.append(events)

    def _retry(self) -> None:
        self._appender.retry()

    async def room(self) -> None:
        """Wait until there is room for an event; see ``Journal``."""
        self._enter()
        await self._appender.room()

    async def flush(self) -> int:
        """Wait until all accepted events are stored; see ``Journal``."""
        self._enter()
        if self._state.assigned_at_open < 0 and not self._appender.waiting:
            await self.open()
        return await self._appender.flush()

    # Reading

    def _read(self, query: Callable[[Fetcher], T]) -> asyncio.Future[T]:
        self._check_open()
        return self._worker.submit(partial(self._store.read, query))

    def cursor(
        self,
        *bindings: Binding,
        after: int | None = None,
        since: datetime | timedelta | None = None,
        last: int | None = None,
        live: bool = True,
    ) -> SqliteCursor:
        """Return a cursor over matching entries; see ``Journal``."""
        self._check_open()
        check_start(after, since, last)
        start = Start(after, None if since is None else self._since(since), last)
        return SqliteCursor(
            self._state,
            Selection(checked_bindings(bindings)),
            start,
            read=self._read,
            open=self._open_for_reading,
            now=self._clock,
            live=live,
        )

    async def _open_for_reading(self) -> str:
        await self.open()
        return self.id

    def _since(self, since: datetime | timedelta) -> int:
        if isinstance(since, timedelta):
            return self._clock() - since // timedelta(microseconds=1)
        return microseconds(since)

    def _check_open(self) -> None:
        if self._pid != os.getpid():
            raise WrongLoopError(
                f"{self!r} belongs to process {self._pid}; make another journal after a fork"
            )
        if self._is_closing:
            raise self._closed_error()

    # Consumers

    async def consumer(
        self,
        name: str,
        *bindings: Binding,
        start: Literal["oldest", "now"] | int = "oldest",
        max_unacked: int = 1024,
        rebind: bool = False,
    ) -> SqliteConsumer:
        """Open the consumer ``name`` at its stored position; see ``Journal``."""
        check_consumer(name, start, max_unacked)
        checked = checked_bindings(bindings)
        await self.open()
        return await self._consumers.open_consumer(
            name, checked, start, max_unacked=max_unacked, rebind=rebind
        )

    async def consumers(self) -> tuple[ConsumerStatus, ...]:
        """Return the status of every consumer; see ``Journal``."""
        await self.open()
        return await self._consumers.statuses()

    async def forget(self, name: str) -> None:
        """Delete the stored state of the consumer ``name``; see ``Journal``."""
        await self.open()
        await self._consumers.forget(name)

    def statistics(self) -> JournalStatistics:
        """Return a snapshot; see ``Journal``."""
        appender, committed = self._appender, self._state.committed
        return JournalStatistics(
            first=committed.first,
            last=committed.assigned_up_to if committed.first else 0,
            bytes=self._store.bytes,
            appended=appender.appended,
            waiting=appender.waiting,
            lost=committed.lost,
            corrupt=self._store.corrupt,
            failed=appender.failed,
            error=None if appender.error is None else str(appender.error),
        )


def _close_store(worker: Worker, store: BlockStore) -> None:
    """Close the store of a garbage-collected journal. All its events are stored."""
    worker.end(store.close)


def _end_store(remainder: Remainder, store: BlockStore, ended: Callable[[], object]) -> None:
    remainder.store_in(store)
    ended()
