"""``Appender``: holds accepted events until they are stored. Used on the loop's thread only.

The store has one batch at a time. Events accepted in the meantime form the next batch. So the more
calls wait for a commit, the more of them share it. If a call awaits its events, the batch is
committed at the end of the loop's iteration, so that it has all events of that iteration.
Otherwise it is committed after ``linger``.

A failed batch stays first and is tried again, with growing pauses. Calls that wait for it get the
error at once. Events keep their order. A batch with an event that can never be stored is halved
until that event is alone. Then this event is refused, and the others are stored.

Room is given first come, first served, to calls of ``append`` and of ``room``. A caller of ``room``
may fill all of it before the next one.

Invariants, each the name of a test: acknowledged is committed; events are stored in the order in
which they were accepted; the number of waiting events is bounded; no wait is endless.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from edr import Event
from edr.bus import RateLimitedLog, log_safely
from edr.journal.batch import RejectedError
from edr.journal.errors import JournalError, JournalFullError, Refusal
from edr.journal.receipts import Receipt, Receipts, copied
from edr.journal.retention import NoRoomYetError
from edr.journal.store import MAX_COMMIT_EVENTS, Appended

logger: logging.Logger = logging.getLogger("edr.journal")

FIRST_PAUSE, MAX_PAUSE = 0.05, 5.0
"""Seconds between attempts to store a failed batch: doubled up to the last pause, so that a short
fault costs little time and a long one little work."""

NO_ROOM_PAUSE = 1.0
"""Seconds between attempts while the journal is full of unacknowledged entries."""


class RefusalLog:
    """Logs refused events: at most one a second, with a count."""

    def __init__(self) -> None:
        self._log = RateLimitedLog(logger=logger)

    def refused(self, event: Event, reason: str) -> None:
        """Log one refused event."""
        self._log.log(
            logging.ERROR,
            "refused",
            "the journal refused event %s of %s permanently: %s",
            event.id,
            event.app_name,
            reason,
        )


class EventCommitter(Protocol):
    """Stores the batches of an appender."""

    def commit(self, events: Sequence[Event], *, lacks_room: bool) -> asyncio.Future[Appended]:
        """Store ``events``. ``lacks_room``: unacknowledged entries prevented the last attempt."""
        ...

    def committed(self, events: Sequence[Event], appended: Appended) -> None:
        """Called when ``events`` are stored, before the calls that wait for them are woken."""
        ...


class Appender:
    """Accepts events, and returns when they are stored.

    Args:
        committer: stores the batches.
        linger: seconds for which a batch that no call awaits may grow.
        max_pending: events that may wait to be stored.
    """

    def __init__(self, committer: EventCommitter, *, linger: float, max_pending: int) -> None:
        self._committer = committer
        self._linger = linger
        self._max_pending = max_pending
        self._pending: deque[Event] = deque()
        self._batch: list[Event] = []
        self._is_busy = False
        self._handover: asyncio.Handle | None = None
        self._is_commit_due = False
        self._is_closing = False
        self._is_stopped = False
        self._lacks_room = False
        self._has_logged_no_room = False
        self._pause = FIRST_PAUSE
        self._batch_limit = MAX_COMMIT_EVENTS
        """Events in the next batch, at most; fewer while searching one that can never be stored."""

        # Events are counted from 1 in the order in which they were accepted.
        self._accepted = 0
        self._settled = 0
        self._receipts = Receipts()
        self._room_waiters = 0
        """Number of calls that wait for room."""
        self._is_granted = False
        """Whether the running task has waited for room and may fill it now."""
        self._room_lock = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None
        self._log = RefusalLog()

        self.appended: int = 0
        self.failed: int = 0
        self.error: JournalError | None = None
        """Why events cannot be stored now, or None."""
        self.last: int = 0
        """The newest position."""

    @property
    def waiting(self) -> int:
        """Number of accepted events that are not stored yet."""
        return len(self._pending) + len(self._batch)

    # Accepting

    def accept(self, event: Event) -> bool:
        """Accept ``event``. Return False if it is full, or if calls wait for room already."""
        if (self._room_waiters and not self._is_granted) or (
            len(self._pending) + len(self._batch) >= self._max_pending
        ):
            return False
        self._pending.append(event)
        self._accepted += 1
        if self._handover is None and not self._is_busy:
            self._schedule(self._linger)
        return True

    def submit(self, event: Event) -> Receipt | None:
        """Accept ``event`` and return its receipt, or None as ``accept`` returns False."""
        if not self.accept(event):
            return None
        self._commit_soon()
        return self._receipts.expect(self._accepted, self._accepted)

    def submit_all(self, events: Sequence[Event]) -> Receipt | None:
        """Accept ``events`` and return their receipt, or None if they do not all fit."""
        if (self._room_waiters and not self._is_granted) or (
            len(self._pending) + len(self._batch) + len(events) > self._max_pending
        ):
            return None
        first = self._accepted + 1
        self._pending.extend(events)
        self._accepted += len(events)
        self._commit_soon()
        return self._receipts.expect(first, self._accepted)

    def report_refused(self, event: Event, reason: str) -> None:
        """Report ``event``, which was not accepted, by the next flush."""
        self._receipts.report(Refusal(event, reason))

    async def append(self, events: Sequence[Event]) -> int:
        """Accept ``events`` together, and wait until they are stored."""
        if not events:
            return await self.flush()
        await self._room_for(len(events))
        if self.error is not None and (self._is_stopped or not self._fits(len(events))):
            raise copied(self.error)
        first = self._accepted + 1
        self._pending.extend(events)
        self._accepted += len(events)
        self._commit_soon()
        return await self._receipts.expect(first, self._accepted)

    async def flush(self) -> int:
        """Wait until all accepted events are stored; return the position of the last one."""
        if self._settled == self._accepted:
            self._receipts.check()
            return self.last
        self._commit_soon()
        return await self._receipts.expect_all(self._accepted)

    async def room(self) -> None:
        """Wait until there is room for one event, or until storing fails.

        Until its next await, the caller may fill the room with ``accept``, before later callers.
        """
        await self._room_for(1)
        if self._room_waiters and not self._is_granted:
            self._is_granted = True
            asyncio.get_running_loop().call_soon(self._end_grant)

    def _end_grant(self) -> None:
        self._is_granted = False

    async def _room_for(self, count: int) -> None:
        if not self._room_waiters and self._fits(count):
            return
        self._room_waiters += 1
        try:
            async with self._room_lock:  # first come, first served
                while self.error is None and not self._fits(count):
                    self._room = asyncio.get_running_loop().create_future()
                    self._commit_soon()
                    await self._room
        finally:
            # The caller fills the room before any other task runs.
            self._room_waiters -= 1

    def _fits(self, count: int) -> bool:
        waiting = len(self._pending) + len(self._batch)
        return not waiting or waiting + count <= self._max_pending

    def _look_for_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # Storing

    def retry(self) -> None:
        """Try again now, because the cause of a failure may be gone."""
        if self._batch and not self._is_busy:
            self._schedule(0.0)

    def _commit_soon(self) -> None:
        if self._is_busy:
            return
        if self.error is not None:
            self._schedule(
                FIRST_PAUSE
            )  # a caller gets its error soon, but cannot cause a busy loop
        elif not self._is_commit_due:
            self._is_commit_due = True
            self._schedule(0.0)

    def _schedule(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        planned = self._handover
        if planned is not None:
            if not isinstance(planned, asyncio.TimerHandle) or (
                planned.when() <= loop.time() + delay
            ):
                return
            planned.cancel()
        if delay:
            self._handover = loop.call_later(delay, self._hand_over)
        else:
            self._handover = loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._handover = None
        self._is_commit_due = False
        if self._is_busy:
            return
        if not self._batch:
            pending = self._pending
            count = min(len(pending), self._batch_limit)
            self._batch = [pending.popleft() for _ in range(count)]
        if self._batch:
            self._is_busy = True
            self._committer.commit(self._batch, lacks_room=self._lacks_room).add_done_callback(
                self._done
            )

    def _done(self, committing: asyncio.Future[Appended]) -> None:
        self._is_busy = False
        if self._is_stopped or committing.cancelled():  # the loop is closing
            return
        error = committing.exception()
        if error is None:
            self._stored(committing.result())
        elif isinstance(error, NoRoomYetError):
            self._wait_for_room(error)
        elif isinstance(error, RejectedError):
            self._rejected(error)
        else:
            self._could_not(error)

    def _stored(self, appended: Appended) -> None:
        batch = self._batch[: appended.stored]
        self._batch = self._batch[appended.stored :]
        self._lacks_room = False
        if self._has_logged_no_room:
            self._has_logged_no_room = False
            log_safely(logging.WARNING, "the journal has room again", logger=logger)
        self.appended += len(batch)
        self.last = appended.first + len(batch) - 1
        self._settled += len(batch)
        self._batch_limit = min(2 * self._batch_limit, MAX_COMMIT_EVENTS)
        self._pause = FIRST_PAUSE
        if self.error is not None:
            log_safely(
                logging.WARNING,
                "the journal stores events again, after it failed with: %s",
                self.error,
                logger=logger,
            )
            self.error = None
        try:
            self._committer.committed(batch, appended)
        finally:  # they are stored, even if the journal raises
            self._receipts.settled(self._settled, self.last)
            self._go_on()

    def _go_on(self) -> None:
        self._look_for_room()
        if (
            self._batch
            or self._receipts
            or self._batch_limit < MAX_COMMIT_EVENTS
            or len(self._pending) >= MAX_COMMIT_EVENTS
        ):
            # After the calls that were just woken, so that their next events are in the batch.
            self._schedule(0.0)
        elif self._pending:
            self._schedule(self._linger)

    def _rejected(self, error: RejectedError) -> None:
        """Refuse the event that can never be stored, or search for it in half of the batch."""
        batch, self._batch = self._batch, []
        if len(batch) > 1:
            self._pending.extendleft(reversed(batch))
            self._batch_limit = len(batch) // 2
            self._schedule(0.0)
            return
        (event,), reason = batch, str(error)
        self.failed += 1
        self._settled += 1
        self._log.refused(event, reason)
        self._receipts.refused(self._settled, Refusal(event, reason))
        self._receipts.settled(self._settled, self.last)
        self._go_on()

    def _could_not(self, error: BaseException) -> None:
        if not isinstance(error, JournalError):
            log_safely(logging.ERROR, "storing events failed", exc=error, logger=logger)
            error = JournalError(f"storing events failed with {error!r}; it is tried again")
        if self.error is None:
            log_safely(
                logging.ERROR, "the journal cannot store events now: %s", error, logger=logger
            )
        self.error = error
        self._schedule(self._pause)
        self._pause = min(2 * self._pause, MAX_PAUSE)
        self._fail_all(error)

    def _fail_all(self, error: JournalError) -> None:
        self._receipts.fail(error)
        self._look_for_room()

    def _wait_for_room(self, error: NoRoomYetError) -> None:
        """Wait until consumers acknowledge entries, unless the journal is closing."""
        if not self._lacks_room:
            self._lacks_room = True  # try again at once, with the newest state of each consumer
            self._schedule(0.0)
        elif self._is_closing:
            self._fail_all(JournalFullError(str(error)))
        else:
            if not self._has_logged_no_room:
                self._has_logged_no_room = True
                log_safely(
                    logging.WARNING,
                    "%s; appends, and emits of its bus, wait for it",
                    error,
                    logger=logger,
                )
            self._schedule(NO_ROOM_PAUSE)

    # The end

    def close(self) -> None:
        """Stop waiting for acknowledgements."""
        self._is_closing = True
        self.retry()

    def stop(self, error: JournalError) -> tuple[bool, list[Event]]:
        """Give no further batch to the store. Calls that wait for room get ``error``.

        Returns:
            Whether the last batch may be unstored, and the events after it.
        """
        self._is_stopped = True
        self.error = error
        if self._handover is not None:
            self._handover.cancel()
            self._handover = None
        self._look_for_room()
        return bool(self._batch), list(self._pending)

    def finish(self, lost: int, last: int) -> None:
        """Set the results of the remaining events, of which ``lost`` were not stored."""
        self.appended += self.waiting - lost
        self.failed += lost
        self._batch = []
        self._pending.clear()
        self._settled = self._accepted
        if lost:
            assert self.error is not None
            self._receipts.fail(self.error)
        else:
            self.last = last
            self._receipts.settled(self._accepted, last)
