"""``Journal``: the interface of every durable record of events, whatever stores it.

A journal is an ordered, bounded record of events, each at a **position**. Positions rise and are
never given twice; they need not be consecutive. A consumer receives only stored entries, so its
position stays valid permanently. Each read asks for the entries after a position, and the result
does not depend on the age of that position. So catching up and following live are the same
operation.

There are two ways to read. A ``Cursor`` begins at a given place, and the journal stores nothing
about it. A ``Consumer`` has a name, and the journal stores its acknowledgements. It receives
unacknowledged entries again, also after a crash.

Left out, because only one of the two implementations could support it: consecutive positions, an
exact ``missed`` for a binding, transactions, seeking by event id. Left out altogether: groups of
consumers, indexes on bodies, compaction by key. Not promised: exactly-once delivery; order after
``nack``; one transaction with another database.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

from edr import Binding, Event, Gap

if TYPE_CHECKING:
    from edr.journal.batches import EntryBatches
    from edr.journal.processing import DeadLetters, Handler, OnGap


class Entry(NamedTuple):
    """One event of a journal, with its position."""

    position: int
    recorded_at: datetime
    """When the journal stored it, by the clock of its machine. It is earlier than that of the entry
    before only if that clock was set back by more than a minute."""
    event: Event
    delivery: int = 1
    """How often the consumer received it. Above 1 it may be a repetition.

    The count is stored, so it also rises for an entry that ends the process each time. After a
    crash, up to about 1,000 entries that were about to be delivered count as delivered once.
    """


class ConsumerStatus(NamedTuple):
    """A snapshot of a named consumer."""

    name: str
    position: int
    """All entries up to this position were acknowledged or did not match."""
    lag: int
    """Number of unacknowledged entries, plus all entries not examined yet, matching or not."""
    unacked: int
    """Number of entries delivered and not acknowledged yet."""
    missed: int
    """Number of entries lost to retention or damage since it was created, matching or not."""
    last_ack: datetime | None
    open: bool
    bindings: tuple[Binding, ...] = ()
    """Its bindings; empty if every entry matches."""


class JournalStatistics(NamedTuple):
    """A snapshot of a journal. Counts begin when it is opened."""

    first: int
    """Position of the oldest entry; 0 if the journal is empty."""
    last: int
    """Position of the newest entry; 0 if the journal is empty."""
    bytes: int
    """Bytes on the disk."""
    appended: int
    """Number of stored events."""
    waiting: int
    """Number of accepted events that are not stored yet."""
    lost: int
    """Number of entries that retention removed."""
    corrupt: int
    """Number of entries that are unreadable because of damage."""
    failed: int
    """Number of accepted events that were not stored. The statistics of a bus also include events
    that the journal did not accept."""
    error: str | None
    """Why events cannot be stored now; ``None`` if they can."""


class Cursor(Protocol):
    """The matching entries of a journal in order. An async iterator and context manager.

    A cursor reads when it is asked for the next entry. So a slow one cannot overflow and delays no
    other. A ``Gap`` stands in the place of entries lost to retention or damage. Its ``missed``
    counts all of them, matching or not. Reading continues at the oldest remaining entry.

    It ends when the journal is closed or, with ``live=False``, when it has caught up.
    """

    @property
    def position(self) -> int:
        """The position of the last examined entry, matching or not.

        ``cursor(after=position)`` continues here without a gap or a repetition.
        """
        ...

    @property
    def caught_up(self) -> bool:
        """Whether it has returned all entries that were stored at its last read."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Entry | Gap:
        """Return the next matching entry. Wait until it is stored.

        Positions rise. Cancellation: safe; the next call returns the entry that the cancelled one
        would have returned. Only one task may wait at a time.

        Raises:
            StopAsyncIteration: it has ended.
            WrongJournalError: the journal never assigned the position in ``after``.
            JournalError: the journal cannot be read now; a later call tries again.
        """
        ...

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Return the next matching entries, at most ``limit``. Wait for the first one only.

        It returns the entries that are at hand, which may be fewer than ``limit``. The list is
        empty if the cursor has ended. For many entries it costs a fraction of ``__anext__``.

        Order, cancellation and tasks: as ``__anext__``.

        Raises:
            ValueError: ``limit`` is below 1.
            WrongJournalError, JournalError: as ``__anext__``.
        """
        ...

    async def aclose(self) -> None:
        """Close it. Idempotent."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Consumer(Cursor, Protocol):
    """A named cursor that does not return acknowledged entries again.

    It returns unacknowledged entries again when it is opened the next time. After a crash it may
    also repeat entries acknowledged within the last 0.1 s, as acks are stored at this interval. So
    handlers must be idempotent; ``event.node`` and ``event.id`` together identify duplicates.

    While ``max_unacked`` entries are unacknowledged, it returns no further ones. Retention may
    remove unacknowledged entries. They are counted as missed, and the consumer continues.

    Closing a consumer stores its acks. When it is opened again, unacknowledged entries come first.
    """

    @property
    def name(self) -> str:
        """The name given to ``Journal.consumer``."""
        ...

    def batches(self, max_size: int, *, max_wait: float = 0.0) -> EntryBatches:
        """Return an async iterator over batches, for sinks where each call is expensive.

        A batch has 1 to ``max_size`` items in order. It is complete when it has ``max_size`` items,
        or ``max_wait`` seconds after its first one. Keep ``max_size`` below ``max_unacked``.

        Cancellation: safe; the next call of the same iterator continues with the same entries.

        Args:
            max_size: the most items in a batch.
            max_wait: seconds to wait for further entries; 0 returns those at hand at once.

        Raises:
            ValueError: ``max_size`` is below 1, or ``max_wait`` below 0.
        """
        ...

    async def process(
        self,
        handler: Handler,
        *,
        concurrency: int = 1,
        attempts: int = 5,
        backoff: float = 1.0,
        dead_letters: DeadLetters | None = None,
        on_gap: OnGap | None = None,
    ) -> None:
        """Pass each entry to ``handler(entry)``, and acknowledge it after that has returned.

        It returns after ``shutdown``, or when the journal was closed, once the running handlers
        have ended. An entry whose handler raised is delivered again after ``backoff``, and others
        are handled in the meantime. The exception is logged, at most once a second for each type.

        Attempts are counted by ``entry.delivery``, which the journal stores. So they survive a
        restart, also if an entry crashes the process each time. Such an entry goes to
        ``dead_letters`` without another attempt, with an ``AttemptsExceededError``.

        Order: with ``concurrency=1`` entries are handled in order, except for repeated ones.
        Cancellation: cancels the handlers; their entries are not acknowledged.

        Args:
            handler: ``handler(entry)``, async or plain. It must be idempotent.
            concurrency: entries that are handled at the same time. Above 1 they may overtake
                each other.
            attempts: deliveries after which an entry goes to ``dead_letters``.
            backoff: seconds before the second attempt, doubled for each further one, up to 60.
            dead_letters: ``dead_letters(entry, exception)``, async or plain, receives an entry with
                the exception of its last attempt. The entry is acknowledged after it has returned.
                If it raises, it is called again later. Without it, an entry is repeated until it
                is handled.
            on_gap: ``on_gap(gap)``, async or plain, is called in the place of lost entries. They
                are also logged.

        Raises:
            ValueError: an option is invalid.
        """
        ...

    def ack(self, *entries: Entry) -> None:
        """Acknowledge ``entries``. The acks are stored within 0.1 s.

        Acks may come in any order. Acknowledging an entry again, or one that retention has removed
        or that no longer matches after ``rebind``, has no effect.

        Raises:
            JournalError: the consumer is closed, or has not returned one of these entries. None of
                them is acknowledged then.
        """
        ...

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Return ``entry`` again after at least ``delay`` seconds, with its ``delivery`` increased.

        Later entries are returned in the meantime. A nack is not stored: after a crash the delay
        is over.

        Raises:
            JournalError: as ``ack``.
        """
        ...

    async def flush(self) -> None:
        """Store all acks so far, and wait for that.

        Raises:
            JournalError: they could not be stored now; it is tried again.
        """
        ...

    async def rebind(self, *bindings: Binding) -> None:
        """Replace the bindings, and return when that is stored.

        From the call on, the consumer returns only entries that the new bindings match; without
        bindings, every entry. They apply to the entries after ``position``: earlier ones that only
        the new bindings match are not returned. Unacknowledged entries that no longer match count
        as acknowledged and are not returned again; an ``ack`` of them has no effect.

        Bindings, position and unacknowledged entries are stored together. So after a crash during
        the call, the consumer has all the old ones or all the new ones. Cancellation: the bindings
        are replaced, and are stored later.

        Raises:
            InvalidBindingError: an argument is not a ``Binding``. Nothing has changed.
            JournalError: the consumer is closed; or the new bindings could not be stored now. They
                apply, and it is tried again.
        """
        ...

    async def shutdown(self) -> None:
        """Return no further entries. Idempotent.

        A call that waits ends: ``take`` returns an empty list, ``__anext__`` raises
        ``StopAsyncIteration``. Entries that were returned can still be acknowledged until
        ``aclose``.
        """
        ...


class Storing(Protocol):
    """The pending result of an event that a journal has accepted. Await it once, or cancel it."""

    def __await__(self) -> Generator[Any, None, int]:
        """Wait until the event is stored; return its position, or raise as ``Journal.append``."""
        ...

    def cancel(self) -> object:
        """Stop waiting. The event stays accepted; the next ``flush`` raises if it is refused."""
        ...


class Journal(Protocol):
    """A durable, ordered record of events at rising positions.

    It belongs to the event loop that uses it first, and to one process. ``async with`` opens and
    closes it, and so does a bus that is created with it.
    """

    @property
    def id(self) -> str:
        """The permanent id of this journal. Positions are valid only within one journal.

        Raises:
            JournalError: the journal was not opened yet, so its id is not known.
        """
        ...

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """A bus stores the events that match one of these. ``append`` stores any event."""
        ...

    def set_bindings(self, bindings: tuple[Binding, ...]) -> None:
        """Replace ``bindings``. ``Bus.record`` calls it, and changes what its bus stores."""
        ...

    async def open(self) -> None:
        """Open it, unless it is open. The other methods open it when necessary.

        Raises:
            JournalInUseError, JournalUnusableError: it cannot be opened.
            JournalError: the journal was closed.
        """
        ...

    async def append(self, *events: Event) -> int:
        """Store ``events`` in their order, and return the position of the last.

        Returns when all of them are stored. Waits while ``max_pending`` events are pending. Without
        events it is a ``flush``.

        Order: events are accepted in the order of the calls, all of one call together, and
        positions rise in that order. Cancellation: accepted events may or may not be stored.

        Raises:
            EventsRefusedError: some events can never be stored; the error names them. The others
                are stored.
            JournalFullError: the disk or the journal is full.
            JournalError: they could not be stored now, and it is tried again.
        """
        ...

    def append_nowait(self, event: Event) -> bool:
        """Accept ``event``, to be stored soon, without waiting.

        ``flush`` waits until it is stored. Order: one order with ``append``.

        Returns:
            False if ``max_pending`` events are pending. The event is not accepted then.

        Raises:
            JournalError: the journal was closed.
        """
        ...

    def submit(self, event: Event) -> Storing | None:
        """Accept ``event`` as ``append_nowait`` does, and return its pending result.

        Returns:
            None if ``max_pending`` events are pending. The event is not accepted then.

        Raises:
            JournalError: the journal was closed, or can never store this event.
        """
        ...

    def report_refused(self, event: Event, reason: str) -> None:
        """Report an event that the journal did not accept, and that its bus gave up.

        The next ``flush`` raises ``EventsRefusedError`` with it.

        So a flush after an emit never returns if the journal did not get the event. A bus calls
        this for a plain emit while the journal is full and cannot store.
        """
        ...

    async def room(self) -> None:
        """Wait until ``append_nowait`` would accept an event.

        It also returns while events cannot be stored, because of a fault or a full disk. Order:
        first come, first served, together with calls of ``append``.
        """
        ...

    async def flush(self) -> int:
        """Wait until all events accepted before this call are stored.

        Each refused event is reported once: by the ``append`` or durable emit that waits for it,
        otherwise by the next ``flush``. Tasks that share a journal and need the result of their own
        events must use ``append`` or a durable emit.

        Returns:
            The position of the last of these events.

        Raises:
            EventsRefusedError: some accepted events can never be stored, or the bus of the journal
                gave up events that the journal did not accept. The others are stored.
            JournalFullError, JournalError: as ``append``.
        """
        ...

    def cursor(
        self,
        *bindings: Binding,
        after: int | None = None,
        since: datetime | timedelta | None = None,
        last: int | None = None,
        live: bool = True,
    ) -> Cursor:
        """Return a cursor over the entries that any of ``bindings`` matches.

        Args:
            bindings: the filter; without bindings, every entry matches.
            after: begin after this position; 0 begins at the oldest entry.
            since: begin with entries recorded since this time, or within this duration.
            last: begin with the newest ``last`` matching entries.
            live: continue with new entries after the stored ones.

        At most one of ``after``, ``since`` and ``last`` may be given. Without them, it begins with
        entries stored after this call. It reads nothing before the first entry is requested.

        Raises:
            ValueError: more than one of them was given, or a value is invalid.
            JournalError: the journal was closed.
        """
        ...

    async def consumer(
        self,
        name: str,
        *bindings: Binding,
        start: Literal["oldest", "now"] | int = "oldest",
        max_unacked: int = 1024,
        rebind: bool = False,
    ) -> Consumer:
        """Open the consumer ``name`` at its stored position. A new one is created at ``start``.

        Args:
            name: 1 to 128 printable characters.
            bindings: the filter; without bindings, every entry matches.
            start: for a new consumer: ``"oldest"`` entry, entries stored from ``"now"`` on, or
                entries after a position.
            max_unacked: how many entries may be unacknowledged.
            rebind: replace the stored bindings. The consumer then skips undelivered entries that
                the new bindings do not match, permanently.

        Raises:
            ConsumerInUseError: the consumer is open.
            WrongJournalError: the journal never assigned the position in ``start``.
            JournalError: it has other bindings and ``rebind`` is false; or as ``append``.
        """
        ...

    async def consumers(self) -> tuple[ConsumerStatus, ...]:
        """Return the status of every consumer, open or not, by name."""
        ...

    async def forget(self, name: str) -> None:
        """Delete the stored state of the consumer ``name``. Entries are kept.

        Raises:
            ConsumerInUseError: the consumer is open.
            JournalError: no consumer has this name.
        """
        ...

    def statistics(self) -> JournalStatistics:
        """Return a snapshot. From any thread, also before opening and after closing."""
        ...

    async def drain(self, timeout: float | None = None) -> int:
        """Wait until the handlers of consumers have finished, and close. A draining bus calls it.

        First the consumers are shut down. Then it waits until each returned entry was acked or
        nacked, and until each ``process`` has ended. It stops waiting for an iteration that has not
        acked or nacked for 5 seconds. Entries that are left are logged and are delivered again.

        Args:
            timeout: seconds to wait, at most; ``None`` for no limit.

        Returns:
            The number of accepted events that could not be stored.
        """
        ...

    async def aclose(self) -> None:
        """Store accepted events and acks, end all cursors and consumers, and close. Idempotent.

        The number of events that could not be stored is logged. Cancellation: closing continues.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
