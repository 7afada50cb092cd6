"""``SqliteConsumer``: a named reader whose acknowledgements the journal stores.

The journal stores the position up to which entries were delivered, and the unacknowledged entries
before it: at most ``max_unacked``, even if acks run far ahead of one that never comes. So acks may
come in any order, and the stored state stays small.

An ack changes memory only. It is stored with the next commit, after ``ACK_LIMIT`` acks, or within
``ACK_INTERVAL``, without a sync of its own: a lost ack costs one repetition, and handlers must be
idempotent anyway. The
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
from operator import itemgetter
from types import TracebackType
from typing import Protocol, Self

from edr import Binding, Gap
from edr.journal.batches import EntryBatches
from edr.journal.errors import JournalError
from edr.journal.fetching import Lost
from edr.journal.following import Follower, OneAtATime, Read
from edr.journal.journal import Entry
from edr.journal.options import check_at_least, check_seconds, checked_bindings
from edr.journal.processing import DeadLetters, Handler, OnGap, Processing
from edr.journal.retention import Loss, counted
from edr.journal.schema import ConsumerState, MissingRange
from edr.journal.selection import Selection
from edr.journal.state import JournalState, Waiter
from edr.journal.store import ConsumerUpdate

STORE_EVERY = 256
"""Positions after which the position of a consumer without acks is stored. It is about a block, so
the consumer delays retention by one block at most, and commits rarely store unchanged acks."""


ACK_LIMIT = 128
"""Acks that are stored at once, not later. A consumer that catches up acknowledges thousands of
entries within ``ACK_INTERVAL``, which a crash would repeat. It costs about 2 us per entry."""

LEASE = 1024
"""Positions in a lease. A consumer waits for the store once per lease, 0.1 ms without a sync. After
a crash, up to this many entries count as delivered although they may not have been."""


_position_of: Callable[[Entry], int] = itemgetter(0)


class ConsumerStore(Protocol):
    """Stores the states of consumers."""

    def changed(self, *, at_once: bool = False) -> None:
        """Called when a state has changed and must be stored soon, or at once."""
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
        selection: the bindings.
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
        self._selection = selection
        self._follower = Follower(journal, read, selection, state.delivered_up_to)
        deliveries = dict(state.unacked)
        self._unacked = {
            entry.position: entry._replace(delivery=deliveries[entry.position]) for entry in unacked
        }
        self._suspect = state.leased
        """Entries up to here may have been delivered before a crash."""
        self._leased = 0
        """Entries up to here may be delivered without storing the state first."""
        self._pending: list[Entry] = []
        """The entries to return once their delivery counts are stored."""
        self._pending_is_new = False
        """Whether these are not repeated ones."""
        # A heap of the entries to repeat, by time. It may also contain entries that were
        # acknowledged since, at most as many as the others.
        self._due = [(0.0, position) for position in self._unacked]
        self._is_due = set(self._unacked)
        self._last_ack = state.last_ack
        self._acked = 0
        """Acks since ``take_update``, which sets the time of the last one."""
        self._unreported = state.unreported
        self._more_missed = sum(position not in self._unacked for position in deliveries)
        self._unreported += self._more_missed
        self._reported = -self._more_missed
        self._reported_early = 0
        self._processing = 0
        """Calls of ``process`` that run."""
        self._is_shut_down = False
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
        """The position up to which it returned entries; see ``Cursor``."""
        if self._pending and self._pending_is_new:
            return self._pending[0].position - 1
        return self._follower.position

    @property
    def caught_up(self) -> bool:
        """Whether it has returned all entries that were stored at its last read."""
        return not (self._is_due or self._pending or self._follower.is_behind)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<SqliteConsumer {self._name!r} {state}, {len(self._unacked)} unacked>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry | Gap:
        """Return the next entry; see ``Consumer``."""
        with self._one:
            items = await self._take(1)
        if not items:
            raise StopAsyncIteration
        return items[0]

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Return the next entries; see ``Consumer``."""
        check_at_least("limit", limit, 1)
        with self._one:
            return await self._take(limit)

    async def _take(self, limit: int) -> list[Entry | Gap]:
        while not self._has_ended:
            if self._unreported:
                return [self._gap_now()]
            if not self._pending:
                self._pending = self._due_now(limit)
                self._pending_is_new = False
            if not self._pending:
                found = await self._following(limit)
                if isinstance(found, Gap):
                    return [found]
                if not found:
                    await self._wait()
                elif self._is_known(found):
                    return [*found]
                else:
                    self._pending = found
                    self._pending_is_new = True
            if self._pending and (stored := await self._stored(limit)):
                return [*stored]
        return []

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._journal.is_closed

    @property
    def _has_ended(self) -> bool:
        return self._is_shut_down or self._is_closed or self._journal.is_closed

    def _is_known(self, entries: list[Entry]) -> bool:
        """Return whether the delivery counts of new ``entries`` are stored."""
        return entries[0].position > self._suspect and entries[-1].position <= self._leased

    async def _stored(self, limit: int) -> list[Entry]:
        """Store the delivery counts of ``_pending``, and return its first ``limit`` entries.

        It returns none if another item comes first now. Cancellation: they stay pending.
        """
        with suppress(JournalError):  # a full disk does not stop reading
            await self._store.store(self, synced=False)
        if self._unreported or self._has_ended:
            return []
        entries, self._pending = self._pending[:limit], self._pending[limit:]
        return entries

    def _gap_now(self) -> Gap:
        unreported, self._unreported = self._unreported, 0
        self._reported += unreported
        self._changed()
        return Gap(unreported)

    def _due_now(self, limit: int) -> list[Entry]:
        """Return the entries to repeat now, at most ``limit``, with their counts increased."""
        entries: list[Entry] = []
        if not self._due:
            return entries
        now = asyncio.get_running_loop().time()
        while self._due and self._due[0][0] <= now and len(entries) < limit:
            _, position = heapq.heappop(self._due)
            if position in self._is_due:
                self._is_due.remove(position)
                entry = self._unacked[position]
                again = self._unacked[position] = entry._replace(delivery=entry.delivery + 1)
                entries.append(again)
        return entries

    async def _following(self, limit: int) -> list[Entry] | Gap:
        """Return the next new entries; none if it must wait."""
        if len(self._unacked) >= self._max_unacked:
            return []
        await self._follower.ready()
        if self._has_ended:
            return []
        if self._unreported:  # a commit removed entries before the next one
            return self._gap_now()
        found = self._follower.take(min(limit, self._max_unacked - len(self._unacked)))
        if self.has_moved(STORE_EVERY):
            self._changed()
        if isinstance(found, Lost):
            return self._gap_of(found)
        if found and found[0].position <= self._suspect:
            suspect = self._suspect
            found = [e._replace(delivery=2) if e.position <= suspect else e for e in found]
        self._unacked.update(zip(map(_position_of, found), found, strict=True))
        return found

    def _gap_of(self, lost: Lost) -> Gap:
        if lost.is_damage:  # reported falls as unreported rises, as both are stored
            self._more_missed += lost.missed
            self._reported -= lost.missed
            self._unreported += lost.missed
            return self._gap_now()
        # A commit reports retention losses, but a read after a salvage may find them first.
        self._reported += lost.missed
        self._reported_early += lost.missed
        self._changed()
        return Gap(lost.missed)

    async def _wait(self) -> None:
        if self._unreported or self._has_ended:
            return
        await self._journal.wait(self._waiter, self._due[0][0] if self._due else None)

    def batches(self, max_size: int, *, max_wait: float = 0.0) -> EntryBatches:
        """Return an async iterator over batches of entries; see ``Consumer``."""
        return EntryBatches(self, max_size, max_wait)

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
        """Pass entries to ``handler`` until the consumer ends; see ``Consumer``."""
        processing = Processing(
            self,
            handler,
            concurrency=concurrency,
            attempts=attempts,
            backoff=backoff,
            dead_letters=dead_letters,
            on_gap=on_gap,
        )
        self._processing += 1
        try:
            await processing.run()
        finally:
            self._processing -= 1

    # Acknowledging

    def ack(self, *entries: Entry) -> None:
        """Acknowledge ``entries``; see ``Consumer``."""
        unacked = self._unacked
        if self._is_over:
            raise self._closed_error()
        for entry in entries:
            # Almost always it is the very object that was returned, which needs no other check.
            if type(entry) is not Entry or unacked.get(entry.position) is not entry:
                self._check(entry)
        acked = 0
        for entry in entries:
            if unacked.pop(entry.position, None) is not None:
                acked += 1
                if self._is_due:
                    self._is_not_due(entry.position)
        if acked:
            self._forget_pending()
            self._acked += acked
            self._changed(at_once=self._acked >= ACK_LIMIT)
            self._waiter.wake()

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Return ``entry`` again later; see ``Consumer``."""
        check_seconds("delay", delay)
        if self._is_over:
            raise self._closed_error()
        if self._check(entry) and entry.position not in self._is_due:
            self._is_due.add(entry.position)
            when = asyncio.get_running_loop().time() + delay
            heapq.heappush(self._due, (when, entry.position))
            self._waiter.wake()

    def _closed_error(self) -> JournalError:
        return JournalError(
            f"consumer {self._name!r} is closed; the entry is returned again when it is opened"
        )

    def _check(self, entry: Entry) -> bool:
        """Return whether ``entry`` is unacknowledged. Raise if it was not returned from here."""
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

    def _changed(self, *, at_once: bool = False) -> None:
        self.is_changed = True
        self._store.changed(at_once=at_once)

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

    def _forget_pending(self) -> None:
        """Forget pending entries that are not unacknowledged any more."""
        if self._pending:
            self._pending = [each for each in self._pending if each.position in self._unacked]

    # Rebinding

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Its bindings."""
        return self._selection.bindings

    async def rebind(self, *bindings: Binding) -> None:
        """Continue with ``bindings``; see ``Consumer``."""
        checked = checked_bindings(bindings)
        if self._is_over:
            raise JournalError(f"consumer {self._name!r} is closed")
        selection = self._selection = Selection(checked)
        self._follower.rebind(selection)
        unacked = self._unacked
        for position in [p for p, entry in unacked.items() if not selection.matches(entry.event)]:
            del unacked[position]
            self._is_not_due(position)
        self._forget_pending()
        self._changed()
        self._waiter.wake()
        await self._store.store(self, synced=True)

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
        self._forget_pending()
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
        if self._acked:
            self._acked = 0
            self._last_ack = self._now()
        position = self._follower.position
        deliveries = {position: entry.delivery for position, entry in self._unacked.items()}
        if self._is_over:
            for pending in self._pending:  # it was not returned after all
                deliveries[pending.position] -= 1
        update = ConsumerUpdate(
            self._name,
            position,
            tuple(deliveries.items()),
            self._last_ack,
            missed=self._more_missed,
            reported=self._reported,
            leased=max(self._suspect, position if self._is_over else position + LEASE),
            bindings=self._selection.text,
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

    # The end

    @property
    def unsettled(self) -> int:
        """Number of entries that it returned and that were neither acked nor nacked."""
        return len(self._unacked) - len(self._is_due) - len(self._pending)

    @property
    def is_processing(self) -> bool:
        """Whether ``process`` runs."""
        return self._processing > 0

    async def shutdown(self) -> None:
        """Return no further entries; see ``Consumer``."""
        self._is_shut_down = True
        self._waiter.wake()

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
