"""``Outbox``: the events that a component has to send, each until the receiver confirms it.

The problem: an event that left its queue is not delivered yet. A connection can be lost before the
event is sent, or before the receiver confirms it. So the sender reads the first event with
``peek``, which removes nothing, and hands it over with ``take`` in the same step in which the
connection accepts it. From then on the event is in flight.

An outbox in memory counts the events that are in flight when a connection is lost as uncertain:
they may have arrived, and to send them again could double them. ``JournalOutbox`` sends them again.

Invariant of the counts, at every moment:
``offered = sent + uncertain + sum(dropped) + pending``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edr.bus import Subscription
from edr.records import Event


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """The counts of one outbox since it was made."""

    offered: int
    """Events that the outbox received to send."""
    sent: int
    """Events that the receiver confirmed."""
    uncertain: int
    """Events in flight when a connection was lost; they may have arrived."""
    dropped: Mapping[str, int]
    """Events that were not sent: reason -> events."""
    pending: int
    """Events still to be sent or confirmed."""
    skipped: int
    """Events of other nodes, which are not to be sent and do not count as offered."""


class Outbox(Protocol):
    """The events to send, in order. One task sends at a time."""

    @property
    def is_durable(self) -> bool:
        """Whether unsent events are kept for the next start of the program."""
        ...

    @property
    def subscription(self) -> Subscription | None:
        """The subscription that the events come from; ``None`` if they come from elsewhere."""
        ...

    @property
    def in_flight(self) -> int:
        """Number of events that were taken and are not settled."""
        ...

    @property
    def pending(self) -> int:
        """Number of events that were received and are not settled."""
        ...

    @property
    def backlog(self) -> int:
        """Number of events that are to be settled. An unread entry counts if it matches or not."""
        ...

    async def peek(self) -> Event | None:
        """Wait for the first event and return it; ``None`` after the last one.

        It returns the same event until ``take`` or ``drop`` is called. Cancellation: safe.
        """
        ...

    def take(self) -> int:
        """Move the event of ``peek`` to those in flight, and return its tag."""
        ...

    def drop(self, reason: str, details: str = "") -> None:
        """Give up the event of ``peek``.

        Args:
            reason: the reason under which it is counted.
            details: further words for a person, such as those of the receiver.
        """
        ...

    def confirm(self, tag: int) -> None:
        """Count an event in flight as sent."""
        ...

    def confirm_oldest(self, count: int) -> None:
        """Count the oldest ``count`` events in flight as sent."""
        ...

    def give_up(self, tag: int, reason: str, details: str = "") -> None:
        """Count an event in flight as dropped; see ``drop``."""
        ...

    def settle_oldest(self, count: int, refused: int, reason: str, details: str = "") -> None:
        """Settle the oldest ``count`` events in flight, of which the receiver refused ``refused``.

        It does not say which. The others count as sent.
        """
        ...

    def on_connection_lost(self) -> None:
        """Called after the connection ended; events in flight are uncertain or are sent again."""
        ...

    async def drain(self) -> None:
        """Accept no further event, and wait until each event is settled.

        Cancellation: no further event is accepted; call it again to continue.
        """
        ...

    async def remaining(self) -> int:
        """Return how many events are not sent, or not confirmed."""
        ...

    async def aclose(self) -> None:
        """Accept no further event, and drop or keep the pending ones. Idempotent."""
        ...

    def statistics(self) -> OutboxStatistics:
        """Return the counts of this moment."""
        ...


class MemoryOutbox:
    """An outbox on a subscription, whose policy decides which events a full queue drops.

    Args:
        subscription: supplies the events; the outbox closes it.
    """

    is_durable: bool = False

    def __init__(self, subscription: Subscription) -> None:
        self.subscription: Subscription = subscription
        self.in_flight: int = 0
        self._head: Event | None = None
        self._tags = 0
        self._sent = 0
        self._uncertain = 0
        self._dropped: Counter[str] = Counter()
        self._drained: asyncio.Event | None = None
        """Set when no event is pending; made by ``drain``."""

    @property
    def pending(self) -> int:
        """Number of events that are queued, at the head or in flight."""
        queued = self.subscription.statistics().pending
        return queued + (self._head is not None) + self.in_flight

    @property
    def backlog(self) -> int:
        """Number of pending events."""
        return self.pending

    async def peek(self) -> Event | None:
        """Wait for the first event and return it; ``None`` after the last one."""
        if self._head is None:
            try:
                self._head = await anext(self.subscription)
            except StopAsyncIteration:
                return None
        return self._head

    def take(self) -> int:
        """Move the event of ``peek`` to those in flight, and return its tag."""
        self._head = None
        self.in_flight += 1
        self._tags += 1
        return self._tags

    def drop(self, reason: str, details: str = "") -> None:  # noqa: ARG002 - nothing keeps them
        """Give up the event of ``peek``."""
        self._head = None
        self._dropped[reason] += 1
        self._check_drained()

    def confirm(self, tag: int) -> None:  # noqa: ARG002 - only their number counts here
        """Count an event in flight as sent."""
        self.confirm_oldest(1)

    def confirm_oldest(self, count: int) -> None:
        """Count ``count`` events in flight as sent."""
        self.in_flight -= count
        self._sent += count
        self._check_drained()

    def give_up(self, tag: int, reason: str, details: str = "") -> None:  # noqa: ARG002
        """Count an event in flight as dropped."""
        self.settle_oldest(1, 1, reason)

    def settle_oldest(self, count: int, refused: int, reason: str, details: str = "") -> None:  # noqa: ARG002
        """Count ``count`` events in flight, ``refused`` of them as dropped, the others as sent."""
        self.in_flight -= count
        self._sent += count - refused
        self._dropped[reason] += refused
        self._check_drained()

    def on_connection_lost(self) -> None:
        """Count the events in flight as uncertain."""
        self._uncertain += self.in_flight
        self.in_flight = 0
        self._check_drained()

    def _check_drained(self) -> None:
        if self._drained is not None and not self.pending:
            self._drained.set()

    async def drain(self) -> None:
        """Close the subscription, and wait until each event is settled."""
        self.subscription.shutdown()
        self._drained = asyncio.Event()
        self._check_drained()
        await self._drained.wait()

    async def remaining(self) -> int:
        """Return how many events are not sent, or not confirmed."""
        return self.pending

    async def aclose(self) -> None:
        """Drop the event of ``peek`` and the queued ones, counted as ``closed``."""
        if self._head is not None:
            self.drop("closed")
        await self.subscription.aclose()

    def statistics(self) -> OutboxStatistics:
        """Return the counts of this moment."""
        queue = self.subscription.statistics()
        dropped = Counter(self._dropped)
        dropped.update(queue.dropped)
        return OutboxStatistics(
            offered=queue.offered,
            sent=self._sent,
            uncertain=self._uncertain,
            dropped=dict(+dropped),
            pending=queue.pending + (self._head is not None) + self.in_flight,
            skipped=0,
        )
