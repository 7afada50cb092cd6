"""Retention: removes the oldest entries beyond a limit, and counts the losses of consumers.

Whole blocks are removed, the oldest first, within the commit that adds new ones. A commit removes
at most ``MAX_RETIRED_BLOCKS`` blocks, or twice the bytes that it adds if that is more. So no append
pays for many others, and a journal exceeds its limit by at most one commit. The newest block always
stays.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import NamedTuple

from edr.journal.schema import COLUMNS, PAGE, ConsumerState, MissingRange, header_in

MAX_RETIRED_BLOCKS = 16
"""Blocks that any commit may remove. A commit adds at most as many."""

MAX_VACUUMED_PAGES = 64
"""Free pages that a commit returns to the file system while the file exceeds its limit."""

BLOCK_OVERHEAD = 512
"""Bytes of a block in addition to keys and rows: its header, and unused bytes of its last page."""


class Limits(NamedTuple):
    """How much a journal keeps; see ``SqliteJournal``."""

    max_bytes: int = 1 << 30
    max_age: timedelta | None = None
    max_events: int | None = None
    keep_unread: bool = False


class Loss(NamedTuple):
    """The loss of a consumer by one commit, computed from its stored state."""

    missed: int
    delivered_up_to: int
    """Its position in that state."""
    unacked: tuple[int, ...]
    """Positions of the lost entries that it had received and not acknowledged."""


class NoRoomYetError(Exception):
    """A consumer has not acknowledged entries that must be removed. Internal to this package.

    Args:
        holder: name of the consumer at the lowest position.
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
    missing_ranges: Sequence[MissingRange],
    consumers: Mapping[str, ConsumerState],
    oldest: int,
    newest: int,
    time: int,
    added: int,
) -> tuple[int, int]:
    """Remove the oldest blocks beyond a limit, within the open transaction.

    Args:
        connection: to the database.
        limits: how much is kept.
        missing_ranges: positions without an entry.
        consumers: whose unacknowledged entries ``keep_unread`` keeps.
        oldest: position of the oldest entry.
        newest: position of the newest entry.
        time: the time for computing ages.
        added: bytes added by the transaction.

    Returns:
        The oldest remaining position, and the number of removed entries.

    Raises:
        NoRoomYetError: ``keep_unread`` does not permit it.
    """
    excess = used(connection) - limits.max_bytes
    surplus = -1
    if limits.max_events is not None:
        surplus = existed(missing_ranges, oldest, newest) - limits.max_events
    lost = 0
    if excess > 0 or surplus > 0 or limits.max_age is not None:
        lost = _retire_blocks(connection, limits, consumers, newest, time, added, excess, surplus)
    if lost:
        (oldest,) = connection.execute("SELECT min(first) FROM blocks").fetchone()
    _give_back(connection, limits, max(MAX_VACUUMED_PAGES, 2 * added // PAGE))
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
            # The clock was ahead. The entry is at least as old as the entries after it.
            is_ahead = limits.max_age is not None and header.until > time
            if last >= newest or not (goes or is_ahead):
                break
            if last >= kept_from:
                if excess > 0:
                    raise NoRoomYetError(holder)
                break
            if blocks >= MAX_RETIRED_BLOCKS and removed >= 2 * added:
                break
            passed += count
            if goes:
                end, lost = last, passed
            blocks, removed = blocks + 1, removed + size + BLOCK_OVERHEAD
            excess -= size + BLOCK_OVERHEAD
            surplus -= count
    if lost:
        connection.execute("DELETE FROM blocks WHERE first <= ?", (end,))
    return lost


def _give_back(connection: sqlite3.Connection, limits: Limits, most: int) -> None:
    """Return up to ``most`` free pages to the file system, if the file exceeds its limit."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    for _ in range(min(pages - limits.max_bytes // PAGE, most)):
        # The sqlite3 module makes one step of a statement without columns: one page.
        connection.execute("PRAGMA incremental_vacuum(1)")


def charge(
    consumers: dict[str, ConsumerState],
    missing_ranges: Sequence[MissingRange],
    first: int,
    oldest: int,
) -> dict[str, Loss]:
    """Count the loss of each consumer when entries from ``first`` to before ``oldest`` go.

    Args:
        consumers: the stored states; updated in place.
        missing_ranges: positions without an entry.
        first: the oldest position before the removal.
        oldest: the oldest position after it.
    """
    losses = {}
    for name, consumer in consumers.items():
        unacked = tuple([each for each, _ in consumer.unacked if first <= each < oldest])
        after = max(consumer.delivered_up_to, first - 1)
        lost = len(unacked) + counted(missing_ranges, after, oldest - 1)
        if consumer.delivered_up_to < oldest - 1 or lost:
            consumers[name] = clamped(consumer, oldest)._replace(
                missed=consumer.missed + lost, unreported=consumer.unreported + lost
            )
        if lost:
            losses[name] = Loss(lost, consumer.delivered_up_to, unacked)
    return losses


def clamped(consumer: ConsumerState, oldest: int) -> ConsumerState:
    """Return ``consumer``, moved forward to the oldest entry if it is before it."""
    if consumer.delivered_up_to >= oldest - 1 and consumer.position >= oldest - 1:
        return consumer
    return consumer._replace(
        delivered_up_to=max(consumer.delivered_up_to, oldest - 1),
        unacked=tuple(pair for pair in consumer.unacked if pair[0] >= oldest),
    )


def existed(missing_ranges: Sequence[MissingRange], low: int, high: int) -> int:
    """Return how many entries ever had the positions from ``low`` to ``high``."""
    if high < low:
        return 0
    missing = sum(
        max(0, min(high, missing.high) - max(low, missing.low) + 1) for missing in missing_ranges
    )
    return high - low + 1 - missing


def counted(missing_ranges: Sequence[MissingRange], after: int, end: int) -> int:
    """Return how many entries came after ``after``, up to ``end``, including salvage losses."""
    return existed(missing_ranges, after + 1, end) + sum(
        missing.missed(after, end) for missing in missing_ranges
    )


def used(connection: sqlite3.Connection) -> int:
    """Return the bytes of the pages that are in use."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(pages - free) * PAGE
