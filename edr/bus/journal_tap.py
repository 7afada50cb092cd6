"""``JournalTap``: how a bus gives its events to a journal.

The bus knows no journal, only what it asks of one: ``EventJournal``. The tap is one more queue in a
route, so an emit pays nothing for a journal that is not there, and the order of the emits is
the order in which the journal accepts them.

When a journal has no room left but is well, emits wait for it, as for a full queue under BLOCK.
While it can store nothing they do not: what it refuses then is counted, and reaches its
subscribers all the same. So it is with one that raises, since it was closed before its bus.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

from edr._util.log import RateLimitedLog
from edr.bus.overflow import Gap, Overflow
from edr.bus.putters import PendingPut
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
    """What a bus asks of a journal; ``edr.journal.Journal`` is more than that."""

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What the bus shall give it."""
        ...

    async def open(self) -> None:
        """Open it, if it is not open."""
        ...

    def append_nowait(self, event: Event) -> bool:
        """Accept an event, to be stored soon, unless there is no room for it."""
        ...

    def submit(self, event: Event) -> Storing | None:
        """Accept an event unless there is no room for it, for a caller who awaits the result."""
        ...

    async def append(self, *events: Event) -> int:
        """Accept events, and wait until they are stored."""
        ...

    async def room(self) -> None:
        """Wait until there is room, or waiting is no use."""
        ...

    def statistics(self) -> Any:
        """Return its counts of this moment, a named tuple with ``failed`` among them."""
        ...

    async def aclose(self) -> None:
        """Store what was accepted, and close it."""
        ...


class RecordTicket(PendingPut):
    """The place in line of an event for which the journal has no room yet.

    It is never ``admitted``, which counts subscriptions.
    """

    __slots__ = ("is_durable", "storing")

    def __init__(self, tap: JournalTap, event: Event, *, is_durable: bool = False) -> None:
        super().__init__(tap, event)  # type: ignore[arg-type]  # settled as a ticket of a queue
        self.is_durable: bool = is_durable
        self.storing: Storing | None = None
        """Of a durable emit: what to await, if the journal accepted the event."""

    def cancel(self) -> None:
        """Stop waiting for the storage."""
        if self.storing is not None:
            self.storing.cancel()


class JournalTap:
    """Gives a journal what is emitted. It stands among the queues of a route; see ``Tap``.

    Args:
        journal: which.
        spawn: runs a coroutine in a task of the bus.
        log: says what is refused.

    Raises:
        TypeError: it is no journal, such as the path of one.
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
                "journal is a journal that was made, such as edr.journal.SqliteJournal(path), "
                f"not {journal!r}"
            )
        self.journal = journal
        self._spawn = spawn
        self._log = log
        self._line: deque[RecordTicket] = deque()
        self._is_waiting = False
        self.refused: int = 0
        """Events that the journal did not take."""

    def offer(self, event: Event) -> PendingPut | bool:
        """Give ``event`` to the journal; return a ticket if there is no room yet."""
        try:
            if not self._line and self.journal.append_nowait(event):
                return False  # it counts for no subscription
        except Exception as exc:  # a fault of the journal must not reach the emit
            self._refuse(event, exc)
            return False
        return self._stand_in_line(RecordTicket(self, event))

    def offer_durably(self, event: Event) -> RecordTicket:
        """Give ``event`` to the journal, for an emit that waits until it is stored.

        When the ticket is resolved, the emit awaits ``stored``.
        """
        ticket = RecordTicket(self, event, is_durable=True)
        if self._line or not self._settle(ticket):
            return self._stand_in_line(ticket)
        return ticket

    async def stored(self, ticket: RecordTicket) -> None:
        """Wait until the event of a durable emit is stored, or raise why it is not."""
        if ticket.storing is not None:
            await ticket.storing
            return
        event = ticket.event
        try:
            await self.journal.append(event)
        except Exception as exc:
            self._refuse(event, exc)
            raise

    def _settle(self, ticket: RecordTicket) -> bool:
        """Give an event to the journal. Return False if there is no room; it changes nothing."""
        try:
            if not self._accepts(ticket):
                return False
        except Exception as exc:  # a fault of the journal; a durable emit gets it in ``stored``
            if not ticket.is_durable:
                self._refuse(ticket.event, exc)
        ticket.resolve(admitted=False)
        return True

    def _accepts(self, ticket: RecordTicket) -> bool:
        event = ticket.event
        if not ticket.is_durable:
            return self.journal.append_nowait(event)
        ticket.storing = self.journal.submit(event)
        return ticket.storing is not None

    def _stand_in_line(self, ticket: RecordTicket) -> RecordTicket:
        self._line.append(ticket)
        if not self._is_waiting:
            self._is_waiting = True
            self._spawn(self._wait_for_room())
        return ticket

    def offer_nowait(self, event: Event) -> bool:
        """Take ``event`` from an emit that cannot wait."""
        try:
            if self._line or not self.journal.append_nowait(event):
                self._refuse(event)
        except Exception as exc:  # as above
            self._refuse(event, exc)
        return False

    async def _wait_for_room(self) -> None:
        fault: Exception | None = None
        try:
            while self._line:
                await self.journal.room()
                while self._line and self._settle(self._line[0]):
                    self._line.popleft()
                if self._line and self._is_of_no_use():
                    self._refuse_all()
        except Exception as exc:  # as above; it was closed, for example
            fault = exc
        finally:
            self._is_waiting = False
            self._refuse_all(fault)

    def _is_of_no_use(self) -> bool:
        return self.journal.statistics().error is not None

    def _refuse_all(self, why: Exception | None = None) -> None:
        while self._line:
            ticket = self._line.popleft()
            if not ticket.is_durable:
                self._refuse(ticket.event, why)
            ticket.resolve(admitted=False)

    def _refuse(self, event: Event | Gap, why: Exception | str | None = None) -> None:
        self.refused += 1
        assert isinstance(event, Event)
        self._log.log(
            logging.ERROR,
            "journal",
            "the journal did not accept event %s of %s, which reached subscribers only: %s",
            event.id,
            event.app_name,
            why or self.journal.statistics().error or "it has no room",
        )

    # As a queue, to whoever settles a ticket

    def may_wait(self) -> bool:
        """Tell that an emit may wait for this."""
        return True

    def apply_policy(self, ticket: PendingPut, *, cannot_wait: str | None = None) -> None:
        """Let the emit wait, or drop its event if the emit cannot wait any more."""
        if cannot_wait is None or ticket.admitted is not None:
            return
        if isinstance(ticket, RecordTicket) and ticket in self._line:
            self._line.remove(ticket)
            self._refuse(ticket.event, "its emit was cancelled while it waited for room")
        ticket.admitted = False

    def is_consumed_only_by(self, _task: asyncio.Task[Any] | None) -> bool:
        """Tell that waiting for it can end."""
        return False
