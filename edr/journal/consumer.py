"""``SqliteConsumer``: a named reader whose acknowledgements the journal stores.

The journal stores the position up to which entries were delivered, and the unacknowledged entries
before it: at most ``max_unacked``, even if acks run far ahead of one that never comes. So acks may
come in any order, and the stored state stays small.

An ack changes memory only. It is stored with the next commit or within ``ACK_INTERVAL``, without a
sync of its own: a lost ack costs one repetition, and handlers must be idempotent anyway. The
position of a consumer that passes over entries without acks is stored in the same way, once it has
moved by ``STORE_EVERY``.

The stored delivery count must rise even if an entry ends the process each time. So a consumer
stores a *lease*: the position up to which it may deliver entries. After a crash, all unacknowledged
entries up to the lease count as delivered once. A repetition is stored before it is delivered, so
its count is exact, and its neighbours are not counted.

Retention removes entries even if they are unacknowledged. The commit that removes them counts the
loss of the consumer by its last stored state. When the loop receives the result, it subtracts the
entries that the consumer received, passed over or acknowledged since, and the next stored state
corrects the count. The consumer continues at the oldest remaining entry, after a ``Gap``
for its losses.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from edr import Gap
from edr.journal.errors import JournalError
from edr.journal.following import Follower, OneAtATime, Read
from edr.journal.journal import Entry
from edr.journal.retention import Loss, counted
from edr.journal.schema import ConsumerState, MissingRange
from edr.journal.selection import Selection
from edr.journal.state import JournalState, Waiter
from edr.journal.store import ConsumerUpdate

STORE_EVERY = 256
"""Positions after which the position of a consumer without acks is stored. It is about a block, so
the consumer delays retention by one block at most, and commits rarely store unchanged acks."""


LEASE = 1024
"""Positions in a lease. A consumer waits for the store once per lease, 0.1 ms without a sync. After
a crash, up to this many entries count as delivered although they may not have been."""


class ConsumerStore(Protocol):
    """Stores the states of consumers."""

    def changed(self) -> None:
        """Called when a state has changed and must be stored soon."""
        ...

    async def store(self, consumer: SqliteConsumer, *, synced: bool) -> None:
        """Store the state of ``consumer`` now, with a sync of the disk if ``synced``."""
        ...

    def remove(self, consumer: SqliteConsumer) -> None:
        """Called when ``consumer`` is closed."""
        ...


class SqliteConsumer:
    """A consumer of a ``SqliteJournal``; see ``Consumer``.

    Args:
        journal: the committed state of the journal.
        store: stores the state of this consumer.
        selection: matches entries.
        state: the stored state.
        unacked: the unacknowledged entries, by position.
        max_unacked: how many entries may be unacknowledged.
        read: reads from the disk.
        now: returns the time in microseconds since 1970.
    """

    def __init__(
        self,
        journal: JournalState,
        store: ConsumerStore,
        selection: Selection,
        state: ConsumerState,
        unacked: Iterable[Entry],
        max_unacked: int,
        *,
        read: Read,
        now: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._store = store
        self._now = now
        self._name = state.name
        self._max_unacked = max_unacked
        self._follower = Follower(journal, read, selection, state.delivered_up_to)
        deliveries = dict(state.unacked)
        self._unacked = {
            entry.position: entry._replace(delivery=deliveries[entry.position]) for entry in unacked
        }
        self._suspect = state.leased
        """Entries up to here may have been delivered before a crash."""
        self._leased = 0
        """Entries up to here may be delivered without storing the state first."""
        self._next: Entry | None = None
        """The entry to return once its delivery count is stored."""
        # A heap of the entries to repeat, by time. It may also contain entries that were
        # acknowledged since, at most as many as the others.
        self._due = [(0.0, position) for position in self._unacked]
        self._is_due = set(self._unacked)
        self._last_ack = state.last_ack
        self._unreported = state.unreported
        self._more_missed = sum(position not in self._unacked for position in deliveries)
        self._unreported += self._more_missed
        self._reported = -self._more_missed
        self._reported_early = 0
        self._is_closed = False
        self.is_changed: bool = False
        self._stored_at = state.delivered_up_to
        self._waiter = Waiter()
        self._one = OneAtATime("the next entry")

    @property
    def name(self) -> str:
        """The name given to ``SqliteJournal.consumer``."""
        return self._name

    @property
    def position(self) -> int:
        """The position up to which it received entries; see ``Cursor``."""
        return self._follower.position

    @property
    def caught_up(self) -> bool:
        """Whether it has returned all entries that were stored at its last read."""
        return not self._is_due and not self._follower.is_behind

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<SqliteConsumer {self._name!r} {state}, {len(self._unacked)} unacked>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry | Gap:
        """Return the next entry; see ``Consumer``."""
        with self._one:
            while not self._is_over:
                item = self._gap_now() or self._next or self._due_now() or await self._following()
                if item is None:
                    if not self._is_over:
                        await self._wait()
                elif isinstance(item, Gap) or self._is_known(item) or await self._stored(item):
                    return item
            raise StopAsyncIteration

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._journal.is_closed

    def _is_known(self, entry: Entry) -> bool:
        """Return whether the delivery count of ``entry`` is stored."""
        return entry.delivery == 1 and entry.position <= self._leased

    async def _stored(self, entry: Entry) -> bool:
        """Store the delivery count of ``entry``. Return False if another item comes first now.

        Cancellation: ``entry`` stays the next one.
        """
        self._next = entry
        with suppress(JournalError):  # a full disk does not stop reading
            await self._store.store(self, synced=False)
        if self._next is None or self._unreported or self._is_over:
            return False
        self._next = None
        return True

    def _gap_now(self) -> Gap | None:
        if not self._unreported:
            return None
        unreported, self._unreported = self._unreported, 0
        self._reported += unreported
        self._changed()
        return Gap(unreported)

    def _due_now(self) -> Entry | None:
        now = asyncio.get_running_loop().time()
        while self._due and self._due[0][0] <= now:
            _, position = heapq.heappop(self._due)
            if position in self._is_due:
                self._is_due.remove(position)
                entry = self._unacked[position]
                again = self._unacked[position] = entry._replace(delivery=entry.delivery + 1)
                return again
        return None

    async def _following(self) -> Entry | Gap | None:
        while len(self._unacked) < self._max_unacked:
            await self._follower.ready()
            if self._is_over:
                break
            if self._unreported:  # a commit removed entries before the next one
                return self._gap_now()
            item = self._follower.take()
            if self.has_moved(STORE_EVERY):
                self._changed()
            if item is None:
                break
            if isinstance(item, Entry):
                if item.position <= self._suspect:
                    item = item._replace(delivery=2)
                self._unacked[item.position] = item
                return item
            if item.is_damage:  # reported falls as unreported rises, as both are stored
                self._more_missed += item.missed
                self._reported -= item.missed
                self._unreported += item.missed
                return self._gap_now()
            # A commit reports retention losses, but a read after a salvage may find them first.
            self._reported += item.missed
            self._reported_early += item.missed
            self._changed()
            return Gap(item.missed)
        return None

    async def _wait(self) -> None:
        if self._unreported:
            return
        await self._journal.wait(self._waiter, self._due[0][0] if self._due else None)

    # Acknowledging

    def ack(self, entry: Entry) -> None:
        """Acknowledge ``entry``; see ``Consumer``."""
        if self._check(entry):
            del self._unacked[entry.position]
            self._is_not_due(entry.position)
            if self._next is not None and self._next.position == entry.position:
                self._next = None  # it was about to be repeated
            self._last_ack = self._now()
            self._changed()
            self._waiter.wake()

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Return ``entry`` again later; see ``Consumer``."""
        if not delay >= 0:
            raise ValueError(f"delay must be a number of seconds of at least 0, got {delay!r}")
        if self._check(entry) and entry.position not in self._is_due:
            self._is_due.add(entry.position)
            when = asyncio.get_running_loop().time() + delay
            heapq.heappush(self._due, (when, entry.position))
            self._waiter.wake()

    def _check(self, entry: Entry) -> bool:
        """Return whether ``entry`` is unacknowledged."""
        if self._is_over:
            raise JournalError(
                f"consumer {self._name!r} is closed; the entry is returned again when it is opened"
            )
        if not isinstance(entry, Entry):
            raise TypeError(f"must be the Entry that the consumer returned, got {entry!r}")
        mine = self._unacked.get(entry.position)
        if entry.position > self._follower.position or (
            mine is not None and mine.event.id != entry.event.id
        ):
            raise JournalError(
                f"consumer {self._name!r} must have returned the entry, got {entry!r}"
            )
        return mine is not None

    def has_moved(self, positions: int) -> bool:
        """Return whether it has moved by at least ``positions`` since it was stored."""
        return self._follower.position - self._stored_at >= positions

    def _changed(self) -> None:
        self.is_changed = True
        self._store.changed()

    async def flush(self) -> None:
        """Return when all acks so far are stored; see ``Consumer``."""
        if self._is_over:
            raise JournalError(f"consumer {self._name!r} is closed")
        await self._store.store(self, synced=True)

    def _is_not_due(self, position: int) -> None:
        self._is_due.discard(position)
        if len(self._due) > 2 * len(self._is_due):
            self._due = [each for each in self._due if each[1] in self._is_due]
            heapq.heapify(self._due)

    # Called by the journal

    def lost(self, loss: Loss, oldest: int, missing_ranges: Sequence[MissingRange]) -> None:
        """Called when a commit has removed entries that it had not acknowledged.

        Args:
            loss: the loss that the store has counted.
            oldest: position of the oldest remaining entry.
            missing_ranges: positions without an entry.
        """
        received = self._received_since(loss, oldest, missing_ranges)
        if received:
            self._more_missed -= received
            self._reported += received
            self._changed()
        count = loss.missed - received
        self._follower.skip_to(oldest - 1)
        for position in [position for position in self._unacked if position < oldest]:
            del self._unacked[position]
            self._is_not_due(position)
        if self._next is not None and self._next.position < oldest:
            self._next = None
        early = min(count, self._reported_early)
        self._reported_early -= early
        self._unreported += count - early
        self._waiter.wake()

    def _received_since(
        self, loss: Loss, oldest: int, missing_ranges: Sequence[MissingRange]
    ) -> int:
        """Return how many of the entries counted as lost were delivered or passed over since.

        Unacknowledged entries among them are lost.
        """
        reached = min(self._follower.position, oldest - 1)
        passed = counted(missing_ranges, loss.delivered_up_to, reached)
        passed -= sum(loss.delivered_up_to < position < oldest for position in self._unacked)
        passed = max(0, passed - self._reported_early)  # reported as lost already
        return passed + sum(position not in self._unacked for position in loss.unacked)

    def take_update(self) -> ConsumerUpdate:
        """Return the state to store, and the changes of its counts."""
        position = self._follower.position
        update = ConsumerUpdate(
            self._name,
            position,
            tuple([(position, entry.delivery) for position, entry in self._unacked.items()]),
            self._last_ack,
            missed=self._more_missed,
            reported=self._reported,
            leased=max(self._suspect, position if self._is_over else position + LEASE),
        )
        self._more_missed = self._reported = 0
        self.is_changed = False
        self._stored_at = position
        return update

    def stored(self, update: ConsumerUpdate) -> None:
        """Called when ``update`` is stored."""
        self._leased = max(self._leased, update.leased)

    def give_back(self, update: ConsumerUpdate) -> None:
        """Called when ``update`` could not be stored."""
        self._more_missed += update.missed
        self._reported += update.reported
        self.is_changed = True

    def state(self) -> tuple[int, int, int]:
        """Return the acknowledged and the delivered position, and the number of unacked entries."""
        delivered_up_to = self._follower.position
        done = next(iter(self._unacked)) - 1 if self._unacked else delivered_up_to
        return done, delivered_up_to, len(self._unacked)

    async def aclose(self) -> None:
        """Store its acks and close it. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._waiter.wake()
        try:
            while not self._journal.is_closed:
                await self._store.store(self, synced=True)
                if not self.is_changed:  # a failed commit gives its update back
                    break
        finally:
            self._store.remove(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
