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
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from edr import Gap
from edr.journal.errors import JournalError
from edr.journal.following import Follower, OneAtATime, Source, Waiting
from edr.journal.journal import Entry
from edr.journal.retention import Loss, counted
from edr.journal.schema import ConsumerState, MissingRange
from edr.journal.selection import Selection
from edr.journal.store import ConsumerUpdate

STORE_EVERY = 256
"""Positions. The stored position of a caught-up consumer of few entries is at most this old. So
it does not keep a block of entries from being removed, and a commit need not store all consumers
that have moved."""


LEASE = 1024
"""Positions. A consumer waits for the store once in this many entries, and after a crash up to this
many count as given although they were not. It costs 0.1 ms each time, without a sync."""


class ConsumerSource(Source, Protocol):
    """The journal, as a consumer sees it."""

    def consumer_changed(self) -> None:
        """Hear that a consumer has something to be stored soon."""
        ...

    async def store_consumer(self, consumer: SqliteConsumer, *, synced: bool) -> None:
        """Store the state of ``consumer`` now; ``synced`` to survive the loss of power."""
        ...

    def consumer_closed(self, consumer: SqliteConsumer) -> None:
        """Hear that ``consumer`` is closed."""
        ...


class SqliteConsumer:
    """Made by ``SqliteJournal.consumer``; see ``Consumer``.

    Args:
        source: the journal.
        selection: what is wanted.
        state: what was remembered.
        unacked: the entries that were given and not acknowledged, by position.
        max_unacked: how many may be unacknowledged.
    """

    def __init__(
        self,
        source: ConsumerSource,
        selection: Selection,
        state: ConsumerState,
        unacked: Iterable[Entry],
        max_unacked: int,
    ) -> None:
        self._source = source
        self._name = state.name
        self._max_unacked = max_unacked
        self._follower = Follower(source, selection, state.delivered_up_to)
        deliveries = dict(state.unacked)
        self._unacked = {
            entry.position: entry._replace(delivery=deliveries[entry.position]) for entry in unacked
        }
        self._suspect = state.leased
        """Up to here entries may have been given before a crash."""
        self._leased = 0
        """Up to here the store knows that they may be given."""
        self._next: Entry | None = None
        """An entry to return as soon as the store knows of it."""
        # The entries that come again, and when. Those that were acknowledged since are in the heap
        # only, and at most as many as the others.
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
        self._waiting = Waiting()
        self._one = OneAtATime("the next entry")

    @property
    def name(self) -> str:
        """The name given to ``SqliteJournal.consumer``."""
        return self._name

    @property
    def position(self) -> int:
        """How far it was given entries."""
        return self._follower.position

    @property
    def caught_up(self) -> bool:
        """Whether it has been given all that was stored when it last looked."""
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
        return self._is_closed or self._source.is_closed

    def _is_known(self, entry: Entry) -> bool:
        """Return whether it is stored how often ``entry`` is given."""
        return entry.delivery == 1 and entry.position <= self._leased

    async def _stored(self, entry: Entry) -> bool:
        """Store how often ``entry`` is given. False if something else comes first now.

        Cancellation: it stays the next one.
        """
        self._next = entry
        with suppress(JournalError):  # a full disk must not keep it from reading
            await self._source.store_consumer(self, synced=False)
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
            if self._unreported:  # a commit has removed entries before the next one
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
            if item.is_damage:  # told is counted down, as what is unreported then is counted up
                self._more_missed += item.missed
                self._reported -= item.missed
                self._unreported += item.missed
                return self._gap_now()
            # Retention is told from its commit; but a salvage may have found it before.
            self._reported += item.missed
            self._reported_early += item.missed
            self._changed()
            return Gap(item.missed)
        return None

    async def _wait(self) -> None:
        if self._unreported:
            return
        self._source.waiting.add(self._waiting)
        try:
            await self._waiting.wait(self._due[0][0] if self._due else None)
        finally:
            self._source.waiting.discard(self._waiting)

    # Acknowledging

    def ack(self, entry: Entry) -> None:
        """Say that ``entry`` was handled; see ``Consumer``."""
        if self._check(entry):
            del self._unacked[entry.position]
            self._is_not_due(entry.position)
            if self._next is not None and self._next.position == entry.position:
                self._next = None  # its repetition was about to be given
            self._last_ack = self._source.now()
            self._changed()
            self._waiting.wake()

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Ask for ``entry`` again; see ``Consumer``."""
        if not delay >= 0:
            raise ValueError(f"a delay is a number of seconds from 0 on, not {delay!r}")
        if self._check(entry) and entry.position not in self._is_due:
            self._is_due.add(entry.position)
            when = asyncio.get_running_loop().time() + delay
            heapq.heappush(self._due, (when, entry.position))
            self._waiting.wake()

    def _check(self, entry: Entry) -> bool:
        """Tell whether ``entry`` is unacknowledged."""
        if self._is_over:
            raise JournalError(f"consumer {self._name!r} is closed; the entry will come again")
        if not isinstance(entry, Entry):
            raise TypeError(f"must be the Entry that the consumer returned, got {entry!r}")
        mine = self._unacked.get(entry.position)
        if entry.position > self._follower.position or (
            mine is not None and mine.event.id != entry.event.id
        ):
            raise JournalError(f"consumer {self._name!r} has never given this entry: {entry!r}")
        return mine is not None

    def has_moved(self, positions: int) -> bool:
        """Return whether it has moved by ``STORE_EVERY`` since it was stored."""
        return self._follower.position - self._stored_at >= positions

    def _changed(self) -> None:
        self.is_changed = True
        self._source.consumer_changed()

    async def flush(self) -> None:
        """Return when all acks so far are stored; see ``Consumer``."""
        if self._is_over:
            raise JournalError(f"consumer {self._name!r} is closed")
        await self._source.store_consumer(self, synced=True)

    def _is_not_due(self, position: int) -> None:
        self._is_due.discard(position)
        if len(self._due) > 2 * len(self._is_due):
            self._due = [each for each in self._due if each[1] in self._is_due]
            heapq.heapify(self._due)

    # The journal's side

    def lost(self, loss: Loss, oldest: int, missing_ranges: Sequence[MissingRange]) -> None:
        """Called when a commit has removed entries of which it was not done with all.

        Args:
            loss: what the store has counted.
            oldest: position of the oldest entry now.
            missing_ranges: where there never was an entry.
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
        self._waiting.wake()

    def _received_since(
        self, loss: Loss, oldest: int, missing_ranges: Sequence[MissingRange]
    ) -> int:
        """Return how many of the entries counted as lost were given or passed over since.

        Those that were given and are not acknowledged are lost.
        """
        reached = min(self._follower.position, oldest - 1)
        passed = counted(missing_ranges, loss.delivered_up_to, reached)
        passed -= sum(loss.delivered_up_to < position < oldest for position in self._unacked)
        passed = max(0, passed - self._reported_early)  # these it has passed over as lost
        return passed + sum(position not in self._unacked for position in loss.unacked)

    def take_update(self) -> ConsumerUpdate:
        """Return what has changed, to be stored."""
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
        """Hear that it could not be stored."""
        self._more_missed += update.missed
        self._reported += update.reported
        self.is_changed = True

    def state(self) -> tuple[int, int, int]:
        """Return up to where it is done with all, how far it has come, and how many it holds."""
        delivered_up_to = self._follower.position
        done = next(iter(self._unacked)) - 1 if self._unacked else delivered_up_to
        return done, delivered_up_to, len(self._unacked)

    async def aclose(self) -> None:
        """Store its acks, and close it. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._waiting.wake()
        try:
            while not self._source.is_closed:
                await self._source.store_consumer(self, synced=True)
                if not self.is_changed:  # by a commit that was under way
                    break
        finally:
            self._source.consumer_closed(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
