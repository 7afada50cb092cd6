"""``JournalTap``: how a bus gives its events to a journal.

The bus depends on a protocol, ``EventJournal``, and not on a journal. The tap is one more queue in
a route. So an emit without a journal pays nothing, and the journal accepts events in the order of
their emits.

If a journal is full but can store, emits wait for space, as for a full queue under BLOCK. If it
cannot store, emits do not wait: refused events are counted, and subscribers receive them. The same
applies to a journal that raises, because it was closed before its bus.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from edr._util.log import RateLimitedLog
from edr.bus.overflow import Gap, Overflow
from edr.bus.putters import PendingPut
from edr.errors import EventsRefusedError
from edr.records import Binding, Event


class Storing(Protocol):
    """The result of an event that a journal has accepted. ``asyncio.Future`` is one."""

    def __await__(self) -> Generator[Any, None, int]:
        """Return the position when the event is stored; raise when it was not."""
        ...

    def cancel(self) -> object:
        """Stop waiting. The event stays accepted."""
        ...


class EventJournal(Protocol):
    """The part of ``edr.journal.Journal`` that a bus uses."""

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The events that it receives from the bus."""
        ...

    def set_bindings(self, bindings: tuple[Binding, ...]) -> None:
        """Replace ``bindings``. The bus calls it when it changes its routes."""
        ...

    async def open(self) -> None:
        """Open it, if it is not open."""
        ...

    def append_nowait(self, event: Event) -> bool:
        """Accept an event, to be stored soon; return False if the journal is full."""
        ...

    def submit(self, event: Event) -> Storing | None:
        """Accept an event, and return an awaitable for its storage; ``None`` if it is full."""
        ...

    def report_refused(self, event: Event, reason: str) -> None:
        """Report by the next ``flush`` that it did not accept ``event``, and the bus gave it up."""
        ...

    async def append(self, *events: Event) -> int:
        """Accept events, and wait until they are stored."""
        ...

    async def room(self) -> None:
        """Wait until there is space, or until the journal cannot store."""
        ...

    def statistics(self) -> Any:
        """Return its counts of this moment, a named tuple with ``failed`` among them."""
        ...

    async def drain(self, timeout: float | None = None) -> int:
        """Wait until the handlers of its consumers have finished, and close it."""
        ...

    async def aclose(self) -> None:
        """Store the accepted events, and close the journal."""
        ...


class PendingRecord(PendingPut):
    """One event that waits for space in the journal.

    It is never ``admitted``: that counts subscriptions.
    """

    __slots__ = ("is_durable", "storing")

    def __init__(self, tap: JournalTap, event: Event, *, is_durable: bool = False) -> None:
        super().__init__(tap, event)  # type: ignore[arg-type]  # a tap stands for a queue
        self.is_durable: bool = is_durable
        self.storing: Storing | None = None
        """For a durable emit: the storage of the event, once the journal has accepted it."""

    def cancel(self) -> None:
        """Stop waiting for the storage."""
        if self.storing is not None:
            self.storing.cancel()


class JournalTap:
    """Gives emitted events to a journal. It stands among the queues of a route; see ``Tap``.

    Args:
        journal: the journal.
        spawn: runs a coroutine in a task of the bus.
        log: logs refused events.

    Raises:
        TypeError: ``journal`` is not a journal, but a class or a path, for example.
    """

    credit = 0
    number = 0
    overflow = Overflow.BLOCK

    def __init__(
        self,
        journal: EventJournal,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        log: RateLimitedLog,
    ) -> None:
        if isinstance(journal, type) or not hasattr(journal, "append_nowait"):
            raise TypeError(
                "journal must be a journal, such as edr.journal.SqliteJournal(path), "
                f"got {journal!r}"
            )
        self.journal = journal
        # A journal may have it, to accept several events at a quarter of the cost.
        self._submit_all: Callable[[Sequence[Event]], Storing | None] | None = getattr(
            journal, "submit_all", None
        )
        self._spawn = spawn
        self._log = log
        self._waiting: deque[PendingRecord] = deque()
        self._is_waiting = False
        self.refused: int = 0
        """Events that the journal did not accept."""

    def offer(self, event: Event) -> PendingPut | bool:
        """Give ``event`` to the journal; return a pending record if the journal is full."""
        try:
            if not self._waiting and self.journal.append_nowait(event):
                return False  # it counts for no subscription
        except Exception as exc:  # an error of the journal must not reach the emit
            self._refuse(event, exc)
            return False
        return self._wait_in_order(PendingRecord(self, event))

    def offer_durably(self, event: Event) -> PendingRecord:
        """Give ``event`` to the journal, for an emit that waits until it is stored.

        When the pending record is resolved, the emit awaits ``stored``.
        """
        record = PendingRecord(self, event, is_durable=True)
        if self._waiting or not self._give(record):
            return self._wait_in_order(record)
        return record

    def offer_all_durably(self, events: Sequence[Event]) -> list[PendingRecord]:
        """Give ``events``, which no subscription receives, to the journal; see ``offer_durably``.

        Returns:
            One record for all of them, or one for each. There are at most ``MAX_REFUSALS`` events,
            so that an error of the journal names all that it refuses.
        """
        if self._submit_all is not None and not self._waiting and len(events) > 1:
            record = PendingRecord(self, events[0], is_durable=True)
            with suppress(Exception):  # an error of the journal: each record raises its own
                record.storing = self._submit_all(events)
            if record.storing is not None:
                record.resolve(admitted=False)
                return [record]
        return [self.offer_durably(event) for event in events]

    async def stored(self, record: PendingRecord) -> None:
        """Wait until the event of a durable emit is stored; raise if it cannot be."""
        if record.storing is not None:
            await record.storing
            return
        event = record.event
        try:
            await self.journal.append(event)
        except Exception as exc:  # raised by the emit, so no flush reports it
            self._count_refused(event, exc)
            raise

    async def all_stored(self, records: Sequence[PendingRecord]) -> None:
        """Wait until the events of several durable emits are stored.

        Cancellation: stops waiting for all of them.

        Raises:
            EventsRefusedError: the journal refused some of them permanently; it stored the others.
            Exception: some could not be stored now; the first such error of the journal.
        """
        # Events that the journal has not accepted yet are given to it in their order. The others
        # are settled in their order, so when the last one is, no further wait can be cancelled,
        # and no refusal that was taken from its result is lost.
        ordered = [record for record in records if record.storing is None]
        ordered += [record for record in reversed(records) if record.storing is not None]
        refused: dict[PendingRecord, EventsRefusedError] = {}
        fault: Exception | None = None
        for place, record in enumerate(ordered):
            try:
                await self.stored(record)
            except EventsRefusedError as exc:
                refused[record] = exc
            except Exception as exc:  # of the journal; raised below
                fault = fault or exc
            except BaseException:  # the caller does not wait any more
                for other in ordered[place + 1 :]:
                    other.cancel()
                raise
        if fault is not None:
            if refused:
                fault.add_note(str(_in_order(records, refused)))
            raise fault
        if refused:
            raise _in_order(records, refused)

    def _give(self, record: PendingRecord) -> bool:
        """Give an event to the journal; return False, without a change, if it is full."""
        try:
            if not self._accepts(record):
                return False
        except Exception as exc:  # an error of the journal; ``stored`` raises it in a durable emit
            if not record.is_durable:
                self._refuse(record.event, exc)
        record.resolve(admitted=False)
        return True

    def _accepts(self, record: PendingRecord) -> bool:
        event = record.event
        if not record.is_durable:
            return self.journal.append_nowait(event)
        record.storing = self.journal.submit(event)
        return record.storing is not None

    def _wait_in_order(self, record: PendingRecord) -> PendingRecord:
        self._waiting.append(record)
        if not self._is_waiting:
            self._is_waiting = True
            self._spawn(self._wait_for_room())
        return record

    def offer_nowait(self, event: Event) -> bool:
        """Give ``event`` to the journal, for an emit that cannot wait."""
        try:
            if self._waiting or not self.journal.append_nowait(event):
                self._refuse(event)
        except Exception as exc:  # as above
            self._refuse(event, exc)
        return False

    async def _wait_for_room(self) -> None:
        fault: Exception | None = None
        try:
            while self._waiting:
                await self.journal.room()
                while self._waiting and self._give(self._waiting[0]):
                    self._waiting.popleft()
                if self._waiting and self._cannot_store():
                    self._refuse_all()
        except Exception as exc:  # as above; it was closed, for example
            fault = exc
        finally:
            self._is_waiting = False
            self._refuse_all(fault)

    def _cannot_store(self) -> bool:
        return self.journal.statistics().error is not None

    def _refuse_all(self, why: Exception | None = None) -> None:
        while self._waiting:
            record = self._waiting.popleft()
            if not record.is_durable:
                self._refuse(record.event, why)
            record.resolve(admitted=False)

    def _refuse(self, event: Event | Gap, why: Exception | str | None = None) -> None:
        """Give up the event of a plain emit; the next flush of the journal raises."""
        assert isinstance(event, Event)
        reason = self._count_refused(event, why)
        try:
            self.journal.report_refused(event, reason)
        except Exception as exc:  # an error of the journal must not reach the emit
            self._log.log(logging.ERROR, "report", "the journal failed: %r", exc, exc=exc)

    def _count_refused(self, event: Event, why: Exception | str | None) -> str:
        reason = str(why or self.journal.statistics().error or "it has no room")
        self.refused += 1
        self._log.log(
            logging.ERROR,
            "journal",
            "the journal did not accept event %s of %s, which reached subscribers only: %s",
            event.id,
            event.app_name,
            reason,
        )
        return reason

    # As a queue, for ``wait_for_space``

    def may_wait(self) -> bool:
        """Return True: an emit may wait for the journal."""
        return True

    def apply_policy(self, record: PendingPut, *, cannot_wait: str | None = None) -> None:
        """Drop the event of an emit that cannot wait any more; other emits wait."""
        if cannot_wait is None or record.admitted is not None:
            return
        if isinstance(record, PendingRecord) and record in self._waiting:
            self._waiting.remove(record)
            self._refuse(record.event, "its emit was cancelled while it waited for room")
        record.admitted = False

    def is_consumed_only_by(self, _task: asyncio.Task[Any] | None) -> bool:
        """Return False: a wait for the journal can end."""
        return False


def _in_order(
    records: Sequence[PendingRecord], refused: Mapping[PendingRecord, EventsRefusedError]
) -> EventsRefusedError:
    """Return one error for all refused events, in the order of ``records``."""
    errors = [refused[record] for record in records if record in refused]
    refusals = [refusal for error in errors for refusal in error.refusals]
    count = sum([error.count for error in errors])
    return EventsRefusedError(refusals, count, limit=count)
