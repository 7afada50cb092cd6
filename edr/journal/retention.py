"""Retention: what goes when a journal holds too much, and what its consumers lose by that.

Whole blocks go, the oldest first, within the commit that brings new ones. A commit removes
``RETIRED`` blocks at most, or twice the bytes that it adds if that is more, so that no append pays
for many others, and a journal never exceeds its limit by more than a commit. The newest block
always stays.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import NamedTuple

from edr.journal.schema import COLUMNS, PAGE, ConsumerState, Hole, header_in

RETIRED = 16
"""Blocks that any commit may remove; a commit adds no more than that."""

VACUUMED = 64
"""Free pages that a commit gives back to the file system while the file is above its limit."""

BESIDE = 512
"""Bytes of a block in addition to keys and rows: its header, and the rest of its last page."""


class Limits(NamedTuple):
    """What is kept."""

    max_bytes: int = 1 << 30
    max_age: timedelta | None = None
    max_events: int | None = None
    keep_unread: bool = False


class Loss(NamedTuple):
    """How many entries a consumer lost by a commit, by the state that the store had."""

    missed: int
    frontier: int
    """The position up to which it had come, by that state."""
    unacked: tuple[int, ...]
    """Those of the lost entries that it had been given before, and had not acknowledged."""


class NoRoomYetError(Exception):
    """A consumer holds what would have to go. It never leaves this package.

    Args:
        holder: name of the consumer that stands furthest back.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder

    def __str__(self) -> str:
        return (
            f"the journal is full; consumer {self.holder!r} has not acknowledged its oldest entries"
        )


def retire(
    connection: sqlite3.Connection,
    limits: Limits,
    holes: Sequence[Hole],
    consumers: Mapping[str, ConsumerState],
    oldest: int,
    newest: int,
    time: int,
    added: int,
) -> tuple[int, int]:
    """Remove the oldest blocks that are beyond a limit, in the transaction that is open.

    Args:
        connection: to the database.
        limits: what is kept.
        holes: positions that no entry has.
        consumers: whose unacknowledged entries ``keep_unread`` keeps.
        oldest: position of the oldest entry.
        newest: position of the newest entry.
        time: what to judge ages by.
        added: bytes that the transaction has added.

    Returns:
        The oldest position that is left, and how many entries were removed.

    Raises:
        NoRoomYetError: ``keep_unread`` forbids it.
    """
    excess = used(connection) - limits.max_bytes
    surplus = -1
    if limits.max_events is not None:
        surplus = existed(holes, oldest, newest) - limits.max_events
    lost = 0
    if excess > 0 or surplus > 0 or limits.max_age is not None:
        lost = _retire_blocks(connection, limits, consumers, newest, time, added, excess, surplus)
    if lost:
        (oldest,) = connection.execute("SELECT min(first) FROM blocks").fetchone()
    _give_back(connection, limits, max(VACUUMED, 2 * added // PAGE))
    return oldest, lost


def _retire_blocks(
    connection: sqlite3.Connection,
    limits: Limits,
    consumers: Mapping[str, ConsumerState],
    newest: int,
    time: int,
    added: int,
    excess: int,
    surplus: int,
) -> int:
    too_old = -1
    if limits.max_age is not None:
        too_old = time - limits.max_age // timedelta(microseconds=1)
    kept_from, holder = newest + 1, ""
    if limits.keep_unread and consumers:
        holder = min(consumers, key=lambda name: consumers[name].position)
        kept_from = consumers[holder].position + 1
    end = lost = passed = blocks = removed = 0
    with closing(
        connection.execute(
            f"SELECT {COLUMNS}, length(keys) + length(rows) FROM blocks ORDER BY first"
        )
    ) as rows:
        for *row, size in rows:
            header = header_in(row)
            last, count = header.last, header.size
            goes = excess > 0 or header.until < too_old or surplus >= count
            # A clock that was ahead: such entries are at least as old as the ones after them.
            is_ahead = limits.max_age is not None and header.until > time
            if last >= newest or not (goes or is_ahead):
                break
            if last >= kept_from:
                if excess > 0:
                    raise NoRoomYetError(holder)
                break
            if blocks >= RETIRED and removed >= 2 * added:
                break
            passed += count
            if goes:
                end, lost = last, passed
            blocks, removed = blocks + 1, removed + size + BESIDE
            excess -= size + BESIDE
            surplus -= count
    if lost:
        connection.execute("DELETE FROM blocks WHERE first <= ?", (end,))
    return lost


def _give_back(connection: sqlite3.Connection, limits: Limits, most: int) -> None:
    """Give up to ``most`` free pages back to the file system, if the file is above the limit."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    for _ in range(min(pages - limits.max_bytes // PAGE, most)):
        # The module takes one step of a statement that has no columns: one page each.
        connection.execute("PRAGMA incremental_vacuum(1)")


def charge(
    consumers: dict[str, ConsumerState], holes: Sequence[Hole], first: int, oldest: int
) -> dict[str, Loss]:
    """Count what each of ``consumers`` loses when the entries from ``first`` to ``oldest`` go."""
    losses = {}
    for name, consumer in consumers.items():
        unacked = tuple([each for each, _ in consumer.unacked if first <= each < oldest])
        after = max(consumer.frontier, first - 1)
        lost = len(unacked) + counted(holes, after, oldest - 1)
        if consumer.frontier < oldest - 1 or lost:
            consumers[name] = clamped(consumer, oldest)._replace(
                missed=consumer.missed + lost, untold=consumer.untold + lost
            )
        if lost:
            losses[name] = Loss(lost, consumer.frontier, unacked)
    return losses


def clamped(consumer: ConsumerState, oldest: int) -> ConsumerState:
    """Let a consumer stand no further back than the oldest entry."""
    if consumer.frontier >= oldest - 1 and consumer.position >= oldest - 1:
        return consumer
    return consumer._replace(
        frontier=max(consumer.frontier, oldest - 1),
        unacked=tuple(pair for pair in consumer.unacked if pair[0] >= oldest),
    )


def existed(holes: Sequence[Hole], low: int, high: int) -> int:
    """Return how many entries were ever between two positions, these included."""
    if high < low:
        return 0
    missing = sum(max(0, min(high, hole.high) - max(low, hole.low) + 1) for hole in holes)
    return high - low + 1 - missing


def counted(holes: Sequence[Hole], after: int, end: int) -> int:
    """Return how many entries were between two positions, with those that a salvage has lost."""
    return existed(holes, after + 1, end) + sum(hole.missed(after, end) for hole in holes)


def used(connection: sqlite3.Connection) -> int:
    """Return the bytes of the pages that are in use."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(pages - free) * PAGE
