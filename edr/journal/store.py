"""``BlockStore``: stores the blocks of a journal, and the states of its consumers, in SQLite.

It is synchronous. Entries, their retention and the resulting losses of consumers change in one
commit. So no two files can disagree, and SQLite alone repairs the state after a crash.

**Positions** are assigned below a high-water mark that is committed, with a sync, before or
together with them. After an unclean end, positions continue above the mark. So a position that was
assigned, read and then lost is never given to another event. The skipped positions are a missing
range, but not a loss.

**Opening writes nothing**, except for a salvage, so a journal on a full disk can be opened and
read. The first commit also writes the new high-water mark.

**State changes only after a commit**, so nothing is returned early or counted twice. After a failed
commit the connection is dropped and never synced again: its file may be in any state, and a second
sync can succeed although the first lost data. A new connection shows whether the commit was
made; if so, its events are not stored again.

Invariants, each the name of a test: a position is never given twice; a failed commit leaves no
trace; a consumer's loss is counted in the commit that causes it; skipped positions are not a loss.
"""

from __future__ import annotations

import ctypes
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from edr import Event
from edr._util.forks import tracked_across_forks
from edr.journal.batch import RejectedError, rows_of
from edr.journal.blocks import SqliteBlocks
from edr.journal.clock import AgeClock, microseconds_elapsed
from edr.journal.codec import Block, Row, encode
from edr.journal.compaction import Change, Piece, compacted
from edr.journal.errors import (
    JournalError,
    JournalFullError,
    JournalInUseError,
    JournalUnusableError,
)
from edr.journal.fetching import Fetcher
from edr.journal.folder import JournalFolder
from edr.journal.opening import opened
from edr.journal.retention import (
    MAX_RETIRED_BLOCKS,
    Limits,
    Loss,
    NoRoomYetError,
    charge,
    clamped,
    existed,
    retire,
    used,
)
from edr.journal.salvage import INSERT_BLOCK, RESERVED, Salvage, write_consumer, write_metadata
from edr.journal.schema import (
    ConsumerState,
    Metadata,
    MissingRange,
    consumers_in,
    is_damage,
    metadata_in,
    translated,
)

MAX_COMMIT_EVENTS = MAX_RETIRED_BLOCKS * 256
"""Events in a commit, at most, so that it adds at most ``MAX_RETIRED_BLOCKS`` blocks."""

MAX_MISSING_RANGES = 1_000
"""Missing ranges before the oldest entry that are kept. The oldest are dropped first; a cursor that
starts before them then reports their positions as lost. Ranges between entries are always kept."""

STEP_BACK = 60_000_000
"""Microseconds. If the clock is set back by at most this, recorded times stand still until it has
caught up. Beyond this they go back too, and the position is stored as a step."""

MAX_STEPS = 100
"""Steps that are kept. The oldest are dropped first; ``since`` may then be inexact for entries that
old."""

T = TypeVar("T")
P = ParamSpec("P")


class ConsumerUpdate(NamedTuple):
    """The changes of a consumer since its state was last stored."""

    name: str
    delivered_up_to: int
    unacked: tuple[tuple[int, int], ...]
    last_ack: int | None
    missed: int = 0
    """Increase of ``ConsumerState.missed``."""
    reported: int = 0
    """Decrease of ``ConsumerState.unreported``."""
    leased: int = 0
    bindings: str | None = None
    """The JSON of its bindings; None if they are unchanged."""


class Appended(NamedTuple):
    """The result of a commit."""

    first: int
    """Position of the first event."""
    bytes: int
    """Bytes of JSON of the stored events."""
    recorded_at: int
    oldest: int
    """Position of the oldest remaining entry."""
    lost: int
    """Entries that retention removed."""
    losses: Mapping[str, Loss]
    """The losses of consumers by that removal."""
    missing_ranges: Sequence[MissingRange]
    """Positions without an entry: never assigned, or lost."""
    stored: int
    """Number of stored events: the first ones of the call."""


class _Plan(NamedTuple):
    """The changes of a commit of events."""

    first: int
    last: int
    bytes: int
    recorded_at: int
    age_time: int
    """The time for computing the ages of entries."""
    stepped_back: int
    """Microseconds by which recorded times go back at ``first``; 0 if they do not."""
    metadata: Metadata
    change: Change
    blocks: list[Block]


def _salvages(
    method: Callable[Concatenate[BlockStore, P], T],
) -> Callable[Concatenate[BlockStore, P], T]:
    """Salvage the journal and call ``method`` again if it finds damage."""

    @wraps(method)
    def salvages(store: BlockStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(store, *args, **kwargs)
        except JournalError:
            if not store.is_damaged:
                raise
        return method(store, *args, **kwargs)

    return salvages


class BlockStore:
    """The store of one journal, for one thread. Call ``open`` first and ``close`` last.

    Args:
        path: the journal's folder.
        limits: how much to keep.
        full_sync: whether commits survive a power failure, or only the end of the process.
        now: the time, in microseconds since 1970.
        report: called with a text for the log: damage, salvages, a clock that was set back.
        elapsed: returns microseconds of a monotonic clock.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits,
        *,
        full_sync: bool,
        now: Callable[[], int],
        report: Callable[[str], object],
        elapsed: Callable[[], int] = microseconds_elapsed,
    ) -> None:
        self.path = path
        self.limits = limits
        self._full_sync = full_sync
        self._now = now
        self._age = None if limits.max_age is None else AgeClock(limits.max_age, elapsed)
        self._report = report
        self._folder: JournalFolder | None = None
        self._connection: sqlite3.Connection | None = None
        self.is_damaged: bool = False
        self._metadata = Metadata("", 0, clean=True)
        self.first: int = 0
        """Position of the oldest entry; 0 if the journal is empty."""
        self.last: int = 0
        """Position of the newest entry; 0 if the journal is empty."""
        self.next: int = 1
        """Position of the next entry."""
        self._until = 0
        """When the newest entry was recorded."""
        self._small_blocks: list[Piece] = []
        self.consumers: dict[str, ConsumerState] = {}
        self._numbers: dict[str, int] = {}
        self.bytes: int = 0
        self.corrupt: int = 0
        """Number of unreadable entries."""
        self.salvaged: Salvage | None = None
        """The result of the last salvage, if there was one."""
        self._unreadable: set[int] = set()
        """First positions of the unreadable blocks that ``corrupt`` includes."""
        self._has_begun = False
        """Whether this owner has committed, so that the stored high-water mark is its own."""
        self._attempted: Appended | None = None
        self._unreported: dict[str, Loss] = {}
        """Losses of consumers by a salvage that no ``Appended`` has reported yet."""
        _stores.add(self)

    # Opening and closing

    @property
    def id(self) -> str:
        """The id of the journal."""
        return self._metadata.id

    @property
    def missing_ranges(self) -> tuple[MissingRange, ...]:
        """Positions without an entry."""
        return self._metadata.missing_ranges

    def open(self) -> None:
        """Open the journal, unless it is open. Create it if it is missing, salvage it if damaged.

        Raises:
            JournalInUseError, JournalUnusableError: it cannot be opened.
            JournalFullError: the disk is full, so a new journal cannot be created.
        """
        if self._folder is not None:
            return
        self._folder = JournalFolder(self.path)
        try:
            self.reopen()
        except BaseException as exc:
            self._give_up()
            self._folder.release()
            self._folder = None
            if isinstance(exc, JournalFullError):
                raise JournalFullError(
                    f"{self.path}: the disk is full, so a journal cannot be made here; "
                    "free some space and open it again"
                ) from exc
            if isinstance(exc, JournalError) and not isinstance(
                exc, JournalInUseError | JournalUnusableError
            ):
                raise JournalUnusableError(
                    f"cannot be opened ({exc.__cause__ or exc})", self.path
                ) from exc
            raise

    def reopen(self) -> None:
        """Connect again, if a fault has closed the connection.

        Raises:
            JournalUnusableError: it is damaged and cannot be salvaged.
            JournalError: it cannot be opened now.
        """
        if self._connection is not None:
            return
        assert self._folder is not None
        while self._connection is None:
            was_damaged = self.is_damaged
            try:
                self._folder.check()
                self._connection = opened(
                    self._folder,
                    full_sync=self._full_sync,
                    is_damaged=was_damaged,
                    known=self._final_metadata() if self.id else None,
                    on_salvage=self._salvaged,
                )
                self._folder.remember_files()
                self._connected(self._connection)
            except JournalError:
                self._give_up()
                if was_damaged or not self.is_damaged:
                    raise
            except (sqlite3.Error, OSError) as exc:
                error = self._failed(exc)
                if was_damaged or not self.is_damaged:
                    raise error from exc
        self.is_damaged = False

    def close(self) -> None:
        """Close the journal so that the next owner skips no positions. Idempotent."""
        if self._connection is not None:
            if self._has_begun:
                # If this fails, the next owner skips positions, as after a crash.
                with suppress(JournalError, sqlite3.Error):
                    self._write_end()
            self._give_up()
        if self._folder is not None:
            self._folder.release()
            self._folder = None

    def _write_end(self) -> None:
        with self._transaction(full_sync=True) as connection:
            write_metadata(connection, self._final_metadata())
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _final_metadata(self) -> Metadata:
        return self._metadata._replace(
            high_water_mark=self.next - 1,
            clean=True,
            first=self.first,
            consumers=len(self.consumers),
        )

    def _connected(self, connection: sqlite3.Connection) -> None:
        metadata = metadata_in(connection)
        is_known = metadata.id == self._metadata.id
        if not is_known:
            self._unreadable = set()  # after a salvage no block is damaged
        states = consumers_in(connection)
        self._numbers = {state.name: number for number, state in states.items()}
        fetcher = Fetcher(SqliteBlocks(connection))
        ends = fetcher.ends()
        first, last, until = (ends[0].first, ends[1].last, ends[1].until) if ends else (0, 0, 0)
        consumers = {state.name: state for state in states.values()}
        next_ = self.next
        if metadata.clean and (
            first != metadata.first
            or existed(metadata.missing_ranges, last + 1, metadata.high_water_mark)
        ):
            raise sqlite3.DatabaseError("the oldest or the newest block is missing")
        if metadata.clean and metadata.consumers != len(states):
            raise sqlite3.DatabaseError("the state of a consumer is missing")
        was_made = self._attempted is not None and last >= self._attempted.first
        if metadata.clean or not is_known or not (self._has_begun or was_made):
            if self._age is not None:
                now = self._now()
                self._age.start(now, until or now)
            old = sum(missing.high < first for missing in metadata.missing_ranges)
            missing_ranges = metadata.missing_ranges[max(0, old - MAX_MISSING_RANGES) :]
            given = max([last, *[missing.high for missing in missing_ranges]])
            if not metadata.clean and given < metadata.high_water_mark:
                missing_ranges = (
                    *missing_ranges,
                    MissingRange(given + 1, metadata.high_water_mark, 0),
                )
            next_ = max(metadata.high_water_mark, last) + 1
            metadata = metadata._replace(
                high_water_mark=next_ - 1 + RESERVED, clean=False, missing_ranges=missing_ranges
            )
            self._metadata, self._has_begun, self._attempted = metadata, False, None
            # A salvage may have lost the first entries.
            losses = charge(consumers, metadata.missing_ranges, 1, first or next_)
            if losses:
                with self._transaction(full_sync=True):
                    for name in losses:
                        write_consumer(connection, self._numbers[name], consumers[name])
            self._unreported |= losses
        elif was_made:
            assert self._attempted is not None
            self._has_begun = True
            self._attempted = self._attempted._replace(
                oldest=first,
                losses={
                    # The entries delivered since are not known here.
                    name: Loss(
                        state.missed - self.consumers[name].missed, state.delivered_up_to, ()
                    )
                    for name, state in consumers.items()
                    if name in self.consumers and state.missed > self.consumers[name].missed
                },
            )
            next_ = last + 1
        else:
            self._attempted = None
        self._metadata, self.next = metadata, next_
        self.consumers = consumers
        self.first, self.last, self._until = first, last, until
        self._small_blocks = fetcher.small_blocks(self.next - 1)
        self._measure(connection)

    # Appending

    @_salvages
    def append(self, events: Sequence[Event], updates: Sequence[ConsumerUpdate] = ()) -> Appended:
        """Store the first of ``events``, and ``updates``, in one commit, and apply retention.

        It stores as many events as fit into a commit, at least one. If a failed append has stored
        the same events after all, they are not stored again.

        Raises:
            NoRoomYetError: entries that must be removed are not acknowledged.
            RejectedError: one of the events can never be stored.
            JournalError: the commit failed; call it again with the same events.
        """
        assert 0 < len(events) <= MAX_COMMIT_EVENTS
        self.reopen()
        if self._attempted is not None:
            done, self._attempted = self._attempted, None
            self.store_consumers(updates, synced=False)
            return done
        rows = rows_of(events)
        plan = self._planned(rows)
        try:
            return self._stored(plan, updates)
        except RejectedError:
            if not plan.change.remove:
                raise
        self._small_blocks = []  # a merge failed; do not merge these blocks again
        return self._stored(self._planned(rows), updates)

    def _stored(self, plan: _Plan, updates: Sequence[ConsumerUpdate]) -> Appended:
        first, last, metadata, change = plan.first, plan.last, plan.metadata, plan.change
        full_sync = self._full_sync or metadata is not self._metadata
        with self._transaction(full_sync=full_sync) as connection:
            if metadata is not self._metadata:
                write_metadata(connection, metadata)
            if change.remove:
                connection.executemany(
                    "DELETE FROM blocks WHERE first = ?", [(each,) for each in change.remove]
                )
            connection.executemany(INSERT_BLOCK, plan.blocks)
            consumers = self._updated(updates)
            oldest, lost = retire(
                connection,
                self.limits,
                metadata.missing_ranges,
                consumers,
                self.first or first,
                last,
                plan.age_time,
                sum(block.bytes for block in plan.blocks),
            )
            losses = charge(consumers, metadata.missing_ranges, self.first, oldest) if lost else {}
            for name, loss in self._unreported.items():
                known = losses.get(name, loss._replace(missed=0))
                losses[name] = known._replace(missed=known.missed + loss.missed)
            self._write_changed(connection, consumers)
            appended = Appended(
                first,
                plan.bytes,
                plan.recorded_at,
                oldest,
                lost,
                losses,
                metadata.missing_ranges,
                last - first + 1,
            )
            self._attempted = appended
        self._attempted = None
        self._metadata = metadata
        self._small_blocks = [piece for piece in change.small_blocks if piece.first >= oldest]
        self.consumers = consumers
        self._unreported = {}
        self.first, self.last, self.next, self._until = oldest, last, last + 1, plan.recorded_at
        self._measure(connection)
        if plan.stepped_back:
            self._report(
                f"journal {self.path}: the clock was set back by "
                f"{timedelta(microseconds=plan.stepped_back)}; entries from position {first} "
                "on have the new time"
            )
        return appended

    def _planned(self, rows: Sequence[Row]) -> _Plan:
        """Return the changes of a commit of ``rows``.

        Raises:
            RejectedError: one of the events can never be stored.
        """
        now = self._now()
        first, last = self.next, self.next + len(rows) - 1
        metadata, small_blocks, time = self._metadata, self._small_blocks, max(now, self._until)
        if last > metadata.high_water_mark:
            metadata = metadata._replace(high_water_mark=last + RESERVED)
        stepped_back = self._until - now
        if stepped_back > STEP_BACK:
            steps = tuple([step for step in metadata.steps if step > self.first])
            metadata = metadata._replace(steps=(*steps, first)[-MAX_STEPS:])
            small_blocks, time = [], now  # times never go back within a block
        else:
            stepped_back = 0
        change = compacted(small_blocks, first, [(row, time) for row in rows])
        try:
            blocks = [encode(piece.first, piece.recorded) for piece in change.insert]
        except Exception as exc:  # an event that was not validated can raise anything
            raise RejectedError(repr(exc)) from exc
        age_time = now if self._age is None else self._age.at(now)
        size = sum([len(row.data) for row in rows])
        return _Plan(first, last, size, time, age_time, stepped_back, metadata, change, blocks)

    # Consumers

    @_salvages
    def store_consumers(self, updates: Iterable[ConsumerUpdate], *, synced: bool) -> None:
        """Store the states of consumers.

        Args:
            updates: the changes.
            synced: whether the change must survive a power failure, for the cost of a sync.

        Raises:
            JournalError: it could not be stored; call it again.
        """
        self.reopen()
        consumers = self._updated(updates)
        with self._transaction(full_sync=synced and self._full_sync) as connection:
            self._write_changed(connection, consumers)
        self.consumers = consumers

    @_salvages
    def make_consumer(self, state: ConsumerState) -> ConsumerState:
        """Store a consumer that is new or has new bindings, with its losses before that.

        Raises:
            JournalError: it could not be stored.
        """
        self.reopen()
        consumers = {state.name: state}
        if self.first:
            lost = existed(self._metadata.missing_ranges, state.delivered_up_to + 1, self.first - 1)
            consumers[state.name] = clamped(state, self.first)._replace(
                missed=state.missed + lost, unreported=state.unreported + lost
            )
        with self._transaction(full_sync=self._full_sync) as connection:
            self._write_changed(connection, consumers)
        self.consumers.update(consumers)
        return consumers[state.name]

    def losses_are_known(self, name: str) -> None:
        """Report no earlier loss of a consumer: it is opened now, and its state includes them."""
        self._unreported.pop(name, None)

    @_salvages
    def forget(self, name: str) -> None:
        """Delete a consumer.

        Raises:
            JournalError: no consumer has this name, or it could not be deleted.
        """
        self.reopen()
        if name not in self.consumers:
            raise JournalError(f"consumer {name!r} does not exist; consumers() returns all")
        with self._transaction(full_sync=self._full_sync) as connection:
            connection.execute("DELETE FROM consumers WHERE number = ?", (self._numbers[name],))
        del self.consumers[name], self._numbers[name]

    def lag(self, position: int) -> int:
        """Return how many entries come after ``position``."""
        return existed(self._metadata.missing_ranges, max(position + 1, self.first), self.last)

    def _updated(self, updates: Iterable[ConsumerUpdate]) -> dict[str, ConsumerState]:
        consumers = dict(self.consumers)
        for update in updates:
            known = consumers.get(update.name)
            if known is not None:
                updated = known._replace(
                    delivered_up_to=update.delivered_up_to,
                    unacked=update.unacked,
                    last_ack=update.last_ack,
                    leased=update.leased,
                    bindings=known.bindings if update.bindings is None else update.bindings,
                    missed=known.missed + update.missed,
                    unreported=max(0, known.unreported - update.reported),
                )
                # The update may be from before the last retention.
                consumers[update.name] = clamped(updated, self.first)
        return consumers

    def _write_changed(
        self, connection: sqlite3.Connection, consumers: Mapping[str, ConsumerState]
    ) -> None:
        for name, consumer in consumers.items():
            if self.consumers.get(name) != consumer:
                if name not in self._numbers:
                    self._numbers[name] = max(self._numbers.values(), default=0) + 1
                write_consumer(connection, self._numbers[name], consumer)

    # Reading

    @_salvages
    def read(self, query: Callable[[Fetcher], T]) -> T:
        """Return the result of ``question``; salvage the journal first if it finds damage.

        Raises:
            JournalError: the journal cannot be read now; call it again.
        """
        self.reopen()
        assert self._connection is not None
        metadata = self._metadata
        fetcher = Fetcher(
            SqliteBlocks(self._connection),
            self.first,
            self.last,
            self.next - 1,
            metadata.missing_ranges,
            metadata.steps,
        )
        try:
            return query(fetcher)
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        finally:
            for first, count in fetcher.corrupt.items():
                if first not in self._unreadable:
                    self._unreadable.add(first)
                    self.corrupt += count

    # Inner parts

    def _salvaged(self, result: Salvage) -> None:
        self.salvaged = result
        self.corrupt += result.lost
        self._report(
            f"journal {self.path} was damaged: {result.saved} entries were saved into a new one, "
            f"{result.lost or 'no'} others and the state of "
            f"{result.lost_consumers or 'no'} consumers "
            f"are known to be lost; "
            f"the damaged files are kept as {result.moved_to.name}"
        )

    @contextmanager
    def _transaction(self, *, full_sync: bool) -> Iterator[sqlite3.Connection]:
        """Run the block in a transaction and commit it, with a sync of the log if ``full_sync``.

        The first transaction also writes the high-water mark, and is synced.

        Raises:
            NoRoomYetError: raised by the block; rolled back.
            RejectedError: a value is too large for SQLite; rolled back.
            JournalError: the commit failed, or its files were removed. The connection is dropped;
                the next one shows whether the commit was made.
        """
        connection = self._connection
        assert connection is not None
        sync = "FULL" if full_sync or not self._has_begun else "NORMAL"
        try:
            connection.execute(f"PRAGMA synchronous = {sync}")
            connection.execute("BEGIN IMMEDIATE")
            if not self._has_begun:
                write_metadata(connection, self._metadata)
            yield connection
            self._commit(connection)
            self._has_begun = True
        except NoRoomYetError:
            self._roll_back(connection)
            raise
        except (sqlite3.DataError, OverflowError) as exc:
            self._roll_back(connection)
            raise RejectedError(repr(exc)) from exc
        except (sqlite3.Error, OSError) as exc:
            raise self._failed(exc) from exc
        except BaseException:  # any exception: no transaction stays open
            self._give_up()
            raise

    def _commit(self, connection: sqlite3.Connection) -> None:
        assert self._folder is not None
        connection.execute("COMMIT")
        self._folder.check()  # afterwards, as files may be removed until its end
        if not self._folder.has_log():
            raise JournalError(
                f"{self._folder.log} was removed or replaced; the commit is tried again"
            )

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        self._attempted = None
        connection.execute("ROLLBACK")

    def _failed(self, exc: sqlite3.Error | OSError) -> JournalError:
        if isinstance(exc, sqlite3.Error) and is_damage(exc):
            self.is_damaged = True
        self._give_up()
        return translated(exc, self.path)

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        assert self._folder is not None
        try:
            self._folder.check()
        except (JournalUnusableError, OSError):
            _abandon(connection)
        else:
            with suppress(sqlite3.Error):
                connection.close()

    def forked(self) -> None:
        """Keep a forked child from closing the connection of its parent, which would write."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _leak(connection)

    def _measure(self, connection: sqlite3.Connection) -> None:
        self.bytes = used(connection)


def _abandon(connection: sqlite3.Connection) -> None:
    """Close a connection without deleting the log file, which belongs to another journal now."""
    if sys.version_info >= (3, 12):
        with suppress(sqlite3.Error):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
            connection.close()
    else:
        _leak(connection)


def _leak(connection: sqlite3.Connection) -> None:
    """Keep a connection from being closed."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_stores = tracked_across_forks(BlockStore.forked)
