"""``Intake``: where the events of a sink come from: a consumer of a journal, or a subscription.

A ``JournalIntake`` is durable. Its consumer exists before the sink is open, so events that are
stored in an outage, or before a restart, are delivered later. A ``QueueIntake`` keeps a bounded
number of events in memory, and drops the oldest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol

from edr.bus import Bus, Gap, Overflow, Subscription
from edr.journal import Consumer, Entry, Journal
from edr.records import EVERY_EVENT, Binding
from edr.sinks.recording import Recording

MIN_UNACKED = 1024
"""Unacknowledged entries that a consumer may have, at least; it is the default of journals."""

CLOSED = "the intake must be opened first"


class Intake(Protocol):
    """The events for one sink, in order. One task takes at a time."""

    @property
    def is_durable(self) -> bool:
        """Whether entries that were not acknowledged are returned after a restart."""
        ...

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The events that it takes."""
        ...

    @property
    def subscription(self) -> Subscription | None:
        """The subscription that the events come from; ``None`` if they come from a journal."""
        ...

    async def open(self, batch_size: int) -> None:
        """Begin to keep events, unless it is open; ``batch_size`` of them make a batch."""
        ...

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Wait for the first item, and return at most ``limit``; an empty list after the last one.

        Cancellation: safe.
        """
        ...

    def ack(self, *entries: Entry) -> None:
        """Settle ``entries``, so that they are not returned after a restart."""
        ...

    async def rebind(self, *bindings: Binding) -> None:
        """Take the events that ``bindings`` match from now on."""
        ...

    def behind(self) -> int:
        """Return how many events wait that ``take`` has not returned, matching or not."""
        ...

    def lost(self) -> Mapping[str, int]:
        """Return the events that were lost before ``take`` returned them: reason -> events."""
        ...

    def shutdown(self) -> None:
        """Accept no further events. ``take`` returns those of before, and then an empty list."""
        ...

    async def aclose(self) -> None:
        """Close it; acknowledgements are stored. Idempotent."""
        ...


class JournalIntake:
    """The entries of a named consumer of a journal.

    Args:
        journal: contains the events.
        consumer: the name of the consumer, such as ``sink:audit``.
        bindings: the events to take; without bindings, every event.
        start: where a new consumer begins: at the events stored from ``"now"`` on, at the
            ``"oldest"`` one, or after a position.
        recording: stores these events for the consumer; ``None`` if the program sees to that.
    """

    is_durable: bool = True
    subscription: None = None

    def __init__(
        self,
        journal: Journal,
        consumer: str,
        bindings: Sequence[Binding] = (),
        *,
        start: Literal["oldest", "now"] | int = "now",
        recording: Recording | None = None,
    ) -> None:
        self._journal = journal
        self._name = consumer
        self._bindings = tuple(bindings)
        self._start = start
        self._recording = recording
        self._consumer: Consumer | None = None
        self._end: int | None = None
        """The last position to deliver, once ``shutdown`` was called."""
        self._opened_at = 0
        self._missed = 0

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The events that it takes."""
        return self._bindings

    async def open(self, batch_size: int) -> None:
        """Open the consumer, unless it is open. A new one is created.

        Raises:
            ConsumerInUseError: another component uses this name.
            JournalError: the journal cannot be read.
        """
        if self._consumer is not None:
            return
        if self._recording is not None:
            self._recording.replace(self._name, self._bindings or (EVERY_EVENT,))
        # The program sets the bindings at each start, so others than the last time are intended.
        self._consumer = await self._journal.consumer(
            self._name,
            *self._bindings,
            start=self._start,
            max_unacked=max(MIN_UNACKED, 4 * batch_size),
            rebind=True,
        )
        self._opened_at = self._consumer.position

    @property
    def _open(self) -> Consumer:
        assert self._consumer is not None, CLOSED
        return self._consumer

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Return the next entries; see ``Intake``. After ``shutdown`` the later ones are left."""
        if self._is_at_end:  # events that still arrive must not keep a sink from its end
            return []
        items = await self._open.take(limit)
        self._missed += sum(item.missed for item in items if isinstance(item, Gap))
        return items

    def ack(self, *entries: Entry) -> None:
        """Acknowledge ``entries``. Acks are stored within 0.1 s."""
        self._open.ack(*entries)

    async def rebind(self, *bindings: Binding) -> None:
        """Take the entries after the present position that ``bindings`` match.

        The journal stores what the old and the new bindings match until the change is stored.
        """
        if self._recording is not None:
            self._recording.widen(self._name, bindings or (EVERY_EVENT,))
        self._bindings = bindings
        if self._consumer is not None:
            await self._consumer.rebind(*bindings)
        if self._recording is not None:
            self._recording.replace(self._name, bindings or (EVERY_EVENT,))

    def behind(self) -> int:
        """Return the number of entries after the position, matching or not."""
        if self._consumer is None:
            return 0
        statistics = self._journal.statistics()
        if self._consumer.caught_up and not statistics.waiting:
            return 0
        position, last = self._consumer.position, statistics.last + statistics.waiting
        if self._end is None:
            return max(0, last - position)
        return 0 if self._is_at_end else max(1, self._end - position)

    @property
    def _is_at_end(self) -> bool:
        """Whether all entries of before ``shutdown`` were returned, matching or not."""
        position = self._open.position
        # Entries that are repeated come first, and do not move the position.
        return self._end is not None and position > self._opened_at and position >= self._end

    def lost(self) -> Mapping[str, int]:
        """Return the entries that retention or damage removed before they were returned."""
        return {"retention": self._missed} if self._missed else {}

    def shutdown(self) -> None:
        """Count no further events in ``behind``: the journal keeps them for the next start."""
        statistics = self._journal.statistics()
        self._end = statistics.last + statistics.waiting

    async def aclose(self) -> None:
        """Store the acks and close the consumer, which keeps its position."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.aclose()


class QueueIntake:
    """The events of a subscription. They are in memory, and lost when the process ends.

    Args:
        bus: emits the events.
        bindings: the events to take; without bindings, every event.
        capacity: events that wait at most.
        overflow: the policy for an event that finds a full queue.
        name: the name of the subscription.
    """

    is_durable: bool = False

    def __init__(
        self,
        bus: Bus,
        bindings: Sequence[Binding] = (),
        *,
        capacity: int = 1024,
        overflow: Overflow = Overflow.DROP_OLDEST,
        name: str | None = None,
    ) -> None:
        self._bus = bus
        self._bindings = tuple(bindings)
        self._capacity = capacity
        self._overflow = overflow
        self._name = name
        self._taken = 0
        self.subscription: Subscription | None = None

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The events that it takes."""
        return self._bindings

    async def open(self, batch_size: int) -> None:  # noqa: ARG002 - it does not matter here
        """Subscribe, unless it is subscribed."""
        if self.subscription is None:
            self.subscription = self._bus.subscribe(
                *self._bindings,
                capacity=self._capacity,
                overflow=self._overflow,
                name=self._name,
            )

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Return the next events; see ``Intake``. They are numbered from 1."""
        assert self.subscription is not None, CLOSED
        try:
            await self.subscription.ready()
        except StopAsyncIteration:
            return []
        events = self.subscription.take(limit)
        now = datetime.now(UTC)
        first = self._taken + 1
        self._taken += len(events)
        return [Entry(number, now, event) for number, event in enumerate(events, first)]

    def ack(self, *entries: Entry) -> None:
        """Do nothing: events that were taken are not returned again."""

    async def rebind(self, *bindings: Binding) -> None:
        """Subscribe to the events that ``bindings`` match. Queued events stay."""
        self._bindings = bindings
        if self.subscription is not None:
            self.subscription.rebind(*bindings)

    def behind(self) -> int:
        """Return the number of queued events."""
        return 0 if self.subscription is None else self.subscription.statistics().pending

    def lost(self) -> Mapping[str, int]:
        """Return the dropped events by ``DropReason``."""
        return {} if self.subscription is None else dict(self.subscription.statistics().dropped)

    def shutdown(self) -> None:
        """Accept no further events; queued ones are still returned."""
        if self.subscription is not None:
            self.subscription.shutdown()

    async def aclose(self) -> None:
        """Drop the queued events, which are counted."""
        if self.subscription is not None:
            await self.subscription.aclose()
