"""``ConsumerRegistry``: the open consumers of a journal, and when their states are stored.

The state of a consumer is stored with the next commit of events, at once after many acks, or
``ACK_INTERVAL`` after its first change. A name is reserved while its consumer is being opened or
forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from edr import Binding
from edr.journal.codec import time_of
from edr.journal.consumer import STORE_EVERY, SqliteConsumer
from edr.journal.draining import settle
from edr.journal.errors import ConsumerInUseError, JournalError, WrongJournalError
from edr.journal.following import Read
from edr.journal.journal import ConsumerStatus, Entry
from edr.journal.schema import ConsumerState
from edr.journal.selection import Selection, bindings_in
from edr.journal.state import JournalState
from edr.journal.store import Appended, BlockStore, ConsumerUpdate
from edr.journal.worker import Worker

ACK_INTERVAL = 0.1
"""Seconds within which an ack is stored. A crash repeats the entries acknowledged since."""

T = TypeVar("T")


class ConsumerRegistry:
    """The open consumers of one journal.

    Args:
        store: stores their states; used in the thread of ``worker``.
        worker: runs the store.
        state: the committed state of the journal.
        read: reads from the disk, for consumers.
        now: returns the time in microseconds since 1970.
        on_stored: called when acks were stored, which may let retention remove entries.
    """

    def __init__(
        self,
        store: BlockStore,
        worker: Worker,
        state: JournalState,
        *,
        read: Read,
        now: Callable[[], int],
        on_stored: Callable[[], object],
    ) -> None:
        self._store = store
        self._worker = worker
        self._state = state
        self._read = read
        self._now = now
        self._on_stored = on_stored
        self._consumers: dict[str, SqliteConsumer | None] = {}
        """The open consumers. None for a reserved name."""
        self._timer: asyncio.TimerHandle | None = None
        self._storing: asyncio.Future[None] | None = None
        """The last job that stores changed states."""

    async def open_consumer(
        self,
        name: str,
        bindings: Sequence[Binding],
        start: str | int,
        *,
        max_unacked: int,
        rebind: bool,
    ) -> SqliteConsumer:
        """Open the consumer ``name``; see ``Journal.consumer``."""
        selection = Selection(bindings)
        self._reserve(name)
        try:
            remembered, unacked = await self._run(
                partial(_open_consumer, self._store, name, selection, start, rebind=rebind)
            )
            consumer = SqliteConsumer(
                self._state,
                self,
                selection,
                remembered,
                unacked,
                max_unacked,
                read=self._read,
                now=self._now,
            )
        except BaseException:
            del self._consumers[name]
            raise
        self._consumers[name] = consumer
        return consumer

    async def statuses(self) -> tuple[ConsumerStatus, ...]:
        """Return the status of every consumer, open or not, by name."""
        live = {each.name: (*each.state(), each.bindings) for each in self._open()}
        store = self._store

        def job() -> list[ConsumerStatus]:
            return [
                _status(store, state, live.get(name))
                for name, state in sorted(store.consumers.items())
            ]

        return tuple(await self._run(job))

    async def forget(self, name: str) -> None:
        """Delete the stored state of the consumer ``name``; see ``Journal.forget``."""
        self._reserve(name)
        try:
            await self._run(partial(self._store.forget, name))
        finally:
            del self._consumers[name]
        self._on_stored()

    def close(self) -> None:
        """Stop storing acks by the timer."""
        if self._timer is not None:
            self._timer.cancel()

    # Called by consumers

    def changed(self, *, at_once: bool = False) -> None:
        """Store the changed states within ``ACK_INTERVAL``, or at once unless a job does it."""
        if self._state.is_closed:
            return
        if at_once and (self._storing is None or self._storing.done()):
            self._storing = self._submit(self.take_updates(), synced=False)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(ACK_INTERVAL, self._store_changed)

    async def store(self, consumer: SqliteConsumer, *, synced: bool) -> None:
        """Store the state of ``consumer`` now, with a sync of the disk if ``synced``."""
        if self._state.is_closed:
            raise JournalError("the journal was closed; make another journal of its path")
        await asyncio.shield(self._submit((consumer.take_update(),), synced=synced))

    def remove(self, consumer: SqliteConsumer) -> None:
        """Remove the closed ``consumer``."""
        if self._consumers.get(consumer.name) is consumer:
            del self._consumers[consumer.name]

    # Called around commits

    def take_updates(self, moved: int = STORE_EVERY) -> tuple[ConsumerUpdate, ...]:
        """Return updates of the consumers that changed, or moved by ``moved`` positions."""
        return tuple(
            [
                each.take_update()
                for each in self._open()
                if each.is_changed or each.has_moved(moved)
            ]
        )

    def finish_updates(
        self, updates: Sequence[ConsumerUpdate], future: asyncio.Future[Any]
    ) -> None:
        """Called when the job that was to store ``updates`` is done."""
        if future.cancelled() or not updates:
            return
        is_stored = future.exception() is None
        for update in updates:
            consumer = self._consumers.get(update.name)
            if consumer is None:
                continue
            if is_stored:
                consumer.stored(update)
            else:
                consumer.give_back(update)
                self.changed()
        if is_stored:
            self._on_stored()

    def lost(self, appended: Appended) -> None:
        """Pass the losses of a commit to the open consumers."""
        for name, loss in appended.losses.items():
            consumer = self._consumers.get(name)
            if consumer is not None:
                consumer.lost(loss, appended.oldest, appended.missing_ranges)

    # Inner parts

    async def settle(self, timeout: float | None) -> dict[str, int]:
        """Shut the consumers down, and wait for their handlers; see ``settle``."""
        return await settle(self._open, timeout)

    def _open(self) -> list[SqliteConsumer]:
        return [each for each in self._consumers.values() if each is not None]

    def _reserve(self, name: str) -> None:
        if name in self._consumers:
            raise ConsumerInUseError(name)
        self._consumers[name] = None

    def _store_changed(self) -> None:
        self._timer = None
        if not self._state.is_closed:
            updates = self.take_updates()
            if updates:
                self._submit(updates, synced=False)

    def _submit(self, updates: tuple[ConsumerUpdate, ...], *, synced: bool) -> asyncio.Future[None]:
        job = partial(self._store.store_consumers, updates, synced=synced)
        future = self._worker.submit(job, urgent=True)
        future.add_done_callback(partial(self.finish_updates, updates))
        return future

    async def _run(self, job: Callable[[], T]) -> T:
        # Shielded: a job that was begun is completed even if its caller is cancelled.
        return await asyncio.shield(self._worker.submit(job))


def _open_consumer(
    store: BlockStore, name: str, selection: Selection, start: str | int, *, rebind: bool
) -> tuple[ConsumerState, list[Entry]]:
    bindings = selection.text
    state = store.consumers.get(name)
    if state is None:
        oldest = store.first or store.next
        if isinstance(start, int):
            if start >= store.next:
                raise WrongJournalError(start, store.id)
            position = start
        else:
            position = oldest - 1 if start == "oldest" else store.next - 1
        state = store.make_consumer(ConsumerState(name, bindings, position))
    elif state.bindings != bindings and not rebind:
        raise JournalError(
            f"consumer {name!r} has other bindings: {state.bindings}; open it with these, or "
            "replace them with rebind=True, which skips entries that the new ones do not match"
        )
    positions = [position for position, _ in state.unacked]
    entries = store.read(lambda disk: disk.at(positions))
    state = store.consumers[name]  # the read may have salvaged the journal, and counted losses
    kept = {position for position, _ in state.unacked}
    entries = [each for each in entries if each.position in kept]
    if state.bindings != bindings:
        others = {each.position for each in entries if not selection.matches(each.event)}
        entries = [each for each in entries if each.position not in others]
        unacked = tuple([pair for pair in state.unacked if pair[0] not in others])
        state = store.make_consumer(state._replace(bindings=bindings, unacked=unacked))
    store.losses_are_known(name)
    return state._replace(leased=min(state.leased, store.last)), entries


def _status(
    store: BlockStore,
    state: ConsumerState,
    live: tuple[int, int, int, tuple[Binding, ...]] | None,
) -> ConsumerStatus:
    if live is not None:
        position, delivered_up_to, unacked, bindings = live
    else:
        position, delivered_up_to, unacked = (
            state.position,
            state.delivered_up_to,
            len(state.unacked),
        )
        bindings = bindings_in(state.bindings)
    last_ack = None if state.last_ack is None else time_of(state.last_ack)
    lag = store.lag(delivered_up_to) + unacked
    return ConsumerStatus(
        state.name, position, lag, unacked, state.missed, last_ack, live is not None, bindings
    )
