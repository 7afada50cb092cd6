"""``JournalOutbox``: an outbox on a consumer of a journal.

The component is a named consumer of the journal and acknowledges the events that the receiver
confirmed. So an event that was emitted while the receiver was away, or before this process died,
is sent later. Events in flight when a connection is lost are sent again, in their order, and the
receiver may get them twice.

A link that also receives must not send back received events, which the journal contains too. So it
sends the events of its own node only, and the bus needs a node that is the same after a restart.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from edr._util.backoff import Backoff
from edr.bus import Gap
from edr.delivery.dropped_entries import Dropped, DroppedEntries, KeepDropped
from edr.delivery.outbox import OutboxStatistics
from edr.journal.errors import JournalError
from edr.records import Binding, Event

if TYPE_CHECKING:
    from edr.journal import Consumer, Entry, Journal

FIRST_DELAY = 0.05
"""Seconds before a journal that could not be read is read again."""

MAX_DELAY = 2.0
"""Most seconds between two attempts to read the journal."""

READ_AHEAD = 64
"""Entries read at once, at most. More make nothing faster. Retention may remove read entries while
the receiver is away. They are sent later, although they also count as lost."""

POLL_INTERVAL = 0.01
"""Seconds between two checks in ``drain``: a consumer does not announce that it is at the end."""


class JournalOutbox:
    """The events to send, from a consumer of a journal.

    Args:
        journal: contains the events.
        consumer: reads them; the outbox closes it.
        node: sends the events of this node only; ``None`` for the events of every node.
        on_error: called with the error each time the journal could not be read.
        is_skipped: whether an event is not to be sent, such as an alert about the component.
        keep_dropped: stores dropped events, which are acknowledged after that, as dead letters;
            ``None`` to acknowledge them at once.
    """

    is_durable: bool = True
    subscription: None = None

    def __init__(
        self,
        journal: Journal,
        consumer: Consumer,
        node: str | None,
        on_error: Callable[[JournalError], None],
        is_skipped: Callable[[Event], bool] | None = None,
        keep_dropped: KeepDropped | None = None,
    ) -> None:
        self._journal = journal
        self._consumer = consumer
        self._node = node
        self._on_error = on_error
        self._is_skipped = is_skipped
        self._unsent: deque[Entry] = deque()
        """Entries that were read and are not in flight. ``peek`` returns the event of the first."""
        self._in_flight: dict[int, Entry] = {}
        """Entries in flight by position, oldest first."""
        self._is_closed = False
        self._has_ended = False
        """Whether the consumer returns no further entries, because it or the journal was closed."""
        self._opened_at = consumer.position
        self._end: int | None = None
        """The position of the last entry to send, once ``drain`` has determined it."""
        self._offered = 0
        self._sent = 0
        self._skipped = 0
        self._missed = 0
        """Entries of any node that retention removed before they were sent."""
        self._dropped: Counter[str] = Counter()
        self._kept = None
        """Dropped entries until they are kept."""
        if keep_dropped is not None:
            self._kept = DroppedEntries(keep_dropped, self._on_kept)

    @classmethod
    async def open(
        cls,
        journal: Journal,
        name: str,
        bindings: Sequence[Binding],
        *,
        node: str | None,
        on_error: Callable[[JournalError], None],
        is_skipped: Callable[[Event], bool] | None = None,
        keep_dropped: KeepDropped | None = None,
    ) -> JournalOutbox:
        """Open the consumer ``name`` of ``journal``. A new one begins with the next event.

        Raises:
            ConsumerInUseError: another component uses this name.
        """
        # The program sets the bindings at each start, so others than the last time are intended.
        consumer = await journal.consumer(name, *bindings, start="now", rebind=True)
        return cls(journal, consumer, node, on_error, is_skipped, keep_dropped)

    @property
    def in_flight(self) -> int:
        """Number of events that were taken and are not settled."""
        return len(self._in_flight)

    @property
    def pending(self) -> int:
        """Number of events that were read and are not settled."""
        kept = 0 if self._kept is None else len(self._kept)
        return len(self._in_flight) + len(self._unsent) + kept

    @property
    def backlog(self) -> int:
        """Number of events to be settled. An unread entry counts if it matches or not."""
        statistics = self._journal.statistics()
        unread = statistics.last + statistics.waiting - self._consumer.position
        if self._consumer.caught_up and not (statistics.waiting or self._is_closed):
            unread = 0
        return self.pending + max(0, unread)

    async def peek(self) -> Event | None:
        """Wait for the first event and return it; ``None`` after the last one.

        A journal that cannot be read is read again after a growing delay, for any length of time.
        """
        backoff = Backoff(FIRST_DELAY, MAX_DELAY)
        while not self._unsent:
            if self._has_ended or self._is_at_end:
                return None
            try:
                await self._read()
            except JournalError as exc:
                self._on_error(exc)
                await asyncio.sleep(backoff.next())
        return self._unsent[0].event

    async def _read(self) -> None:
        items = await self._consumer.take(READ_AHEAD)
        self._has_ended = not items
        others: list[Entry] = []
        for item in items:
            if isinstance(item, Gap):
                self._missed += item.missed
            elif self._is_to_send(item.event):
                self._offered += 1
                self._unsent.append(item)
            else:
                others.append(item)
        if others:
            self._skipped += len(others)
            self._consumer.ack(*others)

    def _is_to_send(self, event: Event) -> bool:
        if self._node is not None and event.node != self._node:
            return False
        return self._is_skipped is None or not self._is_skipped(event)

    def take(self) -> int:
        """Move the event of ``peek`` to those in flight, and return its position as its tag."""
        entry = self._unsent.popleft()
        self._in_flight[entry.position] = entry
        return entry.position

    def drop(self, reason: str, details: str = "") -> None:
        """Keep or acknowledge the event of ``peek`` without sending it."""
        self._drop([self._unsent.popleft()], 1, reason, details)

    def confirm(self, tag: int) -> None:
        """Acknowledge an event in flight as sent."""
        self._sent += 1
        self._consumer.ack(self._in_flight.pop(tag))

    def confirm_oldest(self, count: int) -> None:
        """Acknowledge the oldest ``count`` events in flight as sent."""
        entries = self._pop_oldest(count)
        self._sent += len(entries)
        self._consumer.ack(*entries)

    def give_up(self, tag: int, reason: str, details: str = "") -> None:
        """Keep or acknowledge an event in flight as dropped."""
        self._drop([self._in_flight.pop(tag)], 1, reason, details)

    def settle_oldest(self, count: int, refused: int, reason: str, details: str = "") -> None:
        """Settle the oldest ``count`` events. If some were refused, all of them are kept."""
        entries = self._pop_oldest(count)
        if refused:
            self._drop(entries, refused, reason, details)
        else:
            self._settle(Dropped(entries, 0, reason, ""))

    def _drop(self, entries: Sequence[Entry], count: int, reason: str, details: str) -> None:
        text = f"{reason}: {details}" if details else reason
        if count < len(entries):
            text += f" ({count} of these {len(entries)} events, and the receiver has the others)"
        dropped = Dropped(entries, count, reason, text)
        if self._kept is None:
            self._settle(dropped)
        else:
            self._kept.add(dropped)

    def _settle(self, dropped: Dropped) -> None:
        self._sent += len(dropped.entries) - dropped.refused
        self._dropped[dropped.reason] += dropped.refused
        self._consumer.ack(*dropped.entries)

    def _on_kept(self, dropped: Dropped) -> None:
        with suppress(JournalError):  # it was closed, and returns the entries again
            self._settle(dropped)

    def _pop_oldest(self, count: int) -> list[Entry]:
        tags = list(islice(self._in_flight, count))
        return [self._in_flight.pop(tag) for tag in tags]

    def on_connection_lost(self) -> None:
        """Send the events in flight again, before the event of ``peek``."""
        self._unsent.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()

    @property
    def _is_at_end(self) -> bool:
        if self._end is None:
            return False
        # Entries that are repeated come first, and do not move the position.
        position = self._consumer.position
        has_repeated = position > self._opened_at
        return self._consumer.caught_up or (has_repeated and position >= self._end)

    @property
    def _is_drained(self) -> bool:
        return self._is_at_end and not self.pending

    async def drain(self) -> None:
        """Wait until each event is settled that the journal contains now or is about to store."""
        while not self._is_drained:
            statistics = self._journal.statistics()
            if self._end is None and not statistics.waiting:
                self._end = statistics.last
            await asyncio.sleep(POLL_INTERVAL)

    async def remaining(self) -> int:
        """Return how many events the journal keeps for the next start, of any node."""
        if self._is_drained:
            return 0
        try:
            statuses = await self._journal.consumers()
        except JournalError:  # the journal cannot be read now; the events read so far are known
            return self.pending
        lags = [status.lag for status in statuses if status.name == self._consumer.name]
        return max([self.pending, *lags])

    async def aclose(self) -> None:
        """Store the acks and close the consumer. The journal keeps unconfirmed events."""
        self._is_closed = True
        if self._kept is not None:
            await self._kept.aclose()
        await self._consumer.aclose()

    def statistics(self) -> OutboxStatistics:
        """Return the counts of this moment."""
        dropped = dict(+self._dropped)
        if self._missed:
            dropped["retention"] = self._missed
        return OutboxStatistics(
            offered=self._offered + self._missed,
            sent=self._sent,
            uncertain=0,
            dropped=dropped,
            pending=self.pending,
            skipped=self._skipped,
        )
