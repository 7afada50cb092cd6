"""``Journal``: what every durable record of events promises, whatever it is kept in.

A journal is an ordered, bounded record of events, each at a **position**, from which anybody can
read on. Positions rise, and are never given twice; they need not be dense. What a consumer sees
is stored, so a position it holds is good for ever: "what is there behind P?" is the one question
that reading asks, and the answer does not depend on whether P is long past or a moment ago. That
is why catching up and following live is one thing here, with no seam.

There are two ways to read. A ``Cursor`` is a look: it begins where it is told and remembers
nothing. A ``Consumer`` has a name, and the journal remembers what it acknowledged, also over a
crash; what it did not comes again.

Kept out, because only one of two stores could do it: dense positions, an exact ``missed`` for a
binding, transactions, seeking by event id. Kept out altogether: groups of consumers, indexes on
bodies, compaction by key. Never promised: exactly once; order after ``nack``; that a transaction
of yours and the journal's commit are one.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self

from edr import Binding, Event, Gap


class Entry(NamedTuple):
    """One event of a journal. The position is the entry's, not the event's."""

    position: int
    recorded_at: datetime
    """When the journal took it, by the clock of its machine. It is earlier than that of the entry
    before only where that clock was set back by more than a minute."""
    event: Event
    delivery: int = 1
    """How often a consumer was given it. Above 1 it may be a repetition.

    It is stored, so an entry that ends the process each time counts up all the same. After a crash,
    entries that were about to be given, some 1,000 at most, count as given once.
    """


class ConsumerStatus(NamedTuple):
    """One moment of a named consumer."""

    name: str
    position: int
    """It is done with everything up to here."""
    lag: int
    """Entries after ``position`` that it has neither passed over nor acknowledged: those that it
    holds, and those that it has not looked at, whether or not it wants them."""
    unacked: int
    """Entries given to it and not acknowledged yet."""
    missed: int
    """Entries that it lost, to retention or damage, since it was made; whether or not it would
    have wanted them."""
    last_ack: datetime | None
    open: bool


class JournalStatistics(NamedTuple):
    """One moment of a journal. The counts are since it was opened."""

    first: int
    """Position of the oldest entry left; 0 if there is none."""
    last: int
    """Position of the newest entry; 0 if there never was one."""
    bytes: int
    """What it takes of the disk."""
    appended: int
    """Events stored."""
    waiting: int
    """Events accepted, and not stored yet."""
    lost: int
    """Entries that retention removed."""
    corrupt: int
    """Entries that could not be read for damage."""
    failed: int
    """Events that it accepted and could never store; in a bus's statistics those, too, that it did
    not accept."""
    error: str | None
    """Why nothing can be stored now; ``None`` while all is well."""


class Cursor(Protocol):
    """The entries of a journal, one after the other. An async iterator and context manager.

    It pulls, so it can be as slow as it likes: it cannot overflow, and holds up nobody. A
    ``Gap`` stands where entries were lost, to retention or damage; its ``missed`` counts entries of
    any kind, wanted or not. Reading goes on at the oldest entry left.

    It ends when the journal is closed or, with ``live=False``, when it has caught up.
    """

    @property
    def position(self) -> int:
        """Where it stands: ``cursor(after=position)`` continues here, with no hole and no double.

        It moves past entries that are not wanted, too.
        """
        ...

    @property
    def caught_up(self) -> bool:
        """Whether it has given everything that was stored when it last looked."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Entry | Gap:
        """Return the next entry that is wanted, waiting until there is one.

        Positions rise. Cancellation: safe. A cancelled call has taken nothing; the next call
        returns what this one would have. One call at a time.

        Raises:
            StopAsyncIteration: it has ended.
            WrongJournalError: it was to begin at a position that the journal never gave.
            JournalError: the journal cannot be read now; a later call tries again.
        """
        ...

    async def aclose(self) -> None:
        """End it. Idempotent."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Consumer(Cursor, Protocol):
    """A reading with a name and a memory: what it acknowledged does not come again.

    Everything else does, until it is acknowledged: after a crash at most ``max_unacked`` entries,
    and those acknowledged since the acks were last stored (each 0.1 s). So whoever handles entries
    must bear a repetition; the event's ``node`` and ``id`` identify one.

    While ``max_unacked`` entries are unacknowledged it gives no further ones. Retention may remove
    an entry that is not acknowledged; then it is missed, and counted, and the consumer goes on.

    Closing a consumer stores its acks and forgets nothing: what is unacknowledged comes first when
    it is opened again.
    """

    @property
    def name(self) -> str:
        """The name given to ``Journal.consumer``."""
        ...

    def ack(self, entry: Entry) -> None:
        """Say that ``entry`` was handled. Cheap: it is stored soon, with the next commit or so.

        In any order. A second ack, or one for what retention has removed, changes nothing.

        Raises:
            JournalError: the consumer is closed, or has never given this entry.
        """
        ...

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Ask for ``entry`` again, in ``delay`` seconds or later; its ``delivery`` counts up.

        Entries behind it come meanwhile. A nack is not stored: after a crash the entry comes at
        once.

        Raises:
            JournalError: as ``ack``.
        """
        ...

    async def flush(self) -> None:
        """Return when all acks so far are stored.

        Raises:
            JournalError: they could not be stored now; it goes on trying.
        """
        ...


class Storing(Protocol):
    """The result of an event that a journal has accepted. Await it once, or cancel it."""

    def __await__(self) -> Generator[Any, None, int]:
        """Return the position when the event is stored; raise as ``Journal.append``."""
        ...

    def cancel(self) -> object:
        """Stop waiting. The event stays accepted; the next ``flush`` reports its refusal."""
        ...


class Journal(Protocol):
    """A durable, ordered record of events, with positions from which anybody can read on.

    It belongs to the event loop that first uses it, and to one process. ``async with`` opens and
    closes it; so does a bus that is given it.
    """

    @property
    def id(self) -> str:
        """Names this journal for ever: a position is worth nothing in another.

        Raises:
            JournalError: it was not opened yet, so its name is not known.
        """
        ...

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What a bus shall give it. ``append`` takes any event."""
        ...

    async def open(self) -> None:
        """Open it, if it is not open yet. Every other method does so when it must.

        Raises:
            JournalInUseError, JournalUnusableError: it cannot be opened.
            JournalError: it was closed.
        """
        ...

    async def append(self, *events: Event) -> int:
        """Store ``events``, in their order, and return the position of the last.

        Returns when all of them are stored. Without events it is a ``flush``.
        Waits for room while ``max_pending`` events are on their way.

        Order: events are accepted in the order of the calls, all of one call together, and
        positions rise in that order. Cancellation: those already accepted may or may not be stored.

        Raises:
            EventsRefusedError: the journal will never store some of them; it names these. The
                others are stored.
            JournalFullError: there is no room to store them now.
            JournalError: they could not be stored now; see there.
        """
        ...

    def append_nowait(self, event: Event) -> bool:
        """Accept ``event``, to be stored soon, and return at once.

        Accepted is not stored: ``flush`` returns when it is. In one order with ``append``.

        Returns:
            False if there is no room for it: nothing has happened then.

        Raises:
            JournalError: the journal was closed.
        """
        ...

    def submit(self, event: Event) -> Storing | None:
        """Accept ``event`` as ``append_nowait`` does, and return what to await until it is stored.

        Returns:
            None if there is no room for it: nothing has happened then.

        Raises:
            JournalError: the journal was closed, or cannot store such an event.
        """
        ...

    async def room(self) -> None:
        """Return when ``append_nowait`` would accept an event, or when waiting is no use.

        It is of no use while nothing can be stored, whether for a fault or a full disk. Calls get
        room in their order, and in one order with ``append``.
        """
        ...

    async def flush(self) -> int:
        """Return when all events that were accepted before this call are stored.

        Each refused event is reported once: by the ``append`` or durable emit that waits for it,
        else by the next ``flush``. Tasks that share a journal and must know about their own events
        use ``append`` or a durable emit.

        Returns:
            The position of the last of these events.

        Raises:
            EventsRefusedError: events that were accepted will never be stored; the others are.
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
        """Return the entries that any of ``bindings`` matches, without one all of them.

        Args:
            bindings: what is wanted.
            after: begin behind this position; 0 is before the oldest entry there ever was.
            since: begin with what was recorded at this time, or within this long, or later.
            last: begin with the newest ``last`` entries that match.
            live: go on with what comes, when all that is there was given.

        At most one of ``after``, ``since`` and ``last``; without one it begins with what is stored
        from now on. It begins when it is first asked for an entry; "now" is the moment of this
        call.

        Raises:
            ValueError: more than one of them was given, or a wrong value.
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
        """Open the consumer ``name``, where it was; one that is new begins at ``start``.

        Args:
            name: of the consumer; not empty, at most 128 characters, all printable.
            bindings: what is wanted; without one everything.
            start: only for a new consumer: the oldest entry, what is stored from now on, or what is
                behind a position.
            max_unacked: how many entries it may hold unacknowledged.
            rebind: go on with other bindings than it had. Entries that it has not been given yet
                and does not want any more are passed over for good, so it must be said.

        Raises:
            ConsumerInUseError: it is open already.
            WrongJournalError: ``start`` is a position that this journal never gave.
            JournalError: it had other bindings, and ``rebind`` was not said; or as ``append``.
        """
        ...

    async def consumers(self) -> tuple[ConsumerStatus, ...]:
        """Return the state of every consumer that there is, open or not, by name."""
        ...

    async def forget(self, name: str) -> None:
        """Delete what is remembered of the consumer ``name``; no entry is touched.

        Raises:
            ConsumerInUseError: it is open.
            JournalError: there is no such consumer.
        """
        ...

    def statistics(self) -> JournalStatistics:
        """Return the counts of this moment. Cheap; from any thread; also before and after."""
        ...

    async def aclose(self) -> None:
        """Store what was accepted and the acks, end all readings, and close. Idempotent.

        What cannot be stored is logged, with its number. Cancellation: it goes on closing.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
