"""``Fetcher``: reads the blocks of a journal. Synchronous.

One question, "what is there behind P?", answered in pieces of bounded work: appends wait
meanwhile. The masks let the database pass over blocks; the keys of the others are read, and their
rows only if some key is wanted.

What is missing between two entries is known without looking: entries are dense but for what is
before the oldest, and for the holes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from edr.journal.codec import (
    BLOCK,
    Block,
    DamagedBlock,
    Recorded,
    decode,
    decode_keys,
    microseconds,
)
from edr.journal.journal import Entry
from edr.journal.schema import COLUMNS, Hole
from edr.journal.selection import EVERYTHING, Clause, Selection
from edr.journal.trail import FAN, Piece

BLOCKS_AT_ONCE = 8
"""Blocks that a fetch looks into: some 10 ms of work."""

ENTRIES_AT_ONCE = 512
"""Entries at which a fetch stops."""

REACH = 2_000_000
"""Positions that a fetch passes over: some 10 ms of work when no block is wanted."""


class Lost(NamedTuple):
    """Stands among entries where there were others."""

    position: int
    """Of the last of them."""
    missed: int
    is_damage: bool


class Fetched(NamedTuple):
    """What is behind a position."""

    items: list[Entry | Lost]
    position: int
    """Everything up to here is in ``items``, or is not wanted."""


class Counted(NamedTuple):
    """How far a search for the newest entries came."""

    position: int
    """Behind this are the entries that were counted."""
    missing: int
    """How many more are looked for; 0 when all were found, or there are no more."""
    before: int
    """Go on with what is before this position."""


HEADER = ", ".join(Block._fields[:-1])


class Fetcher:
    """Reads on one connection; good until the next commit.

    Args:
        connection: to the database.
        first: position of the oldest entry.
        last: position of the newest.
        tip: the newest position that was given, or might have been before a crash.
        holes: positions that no entry has.
        steps: positions of entries that were recorded earlier than the one before.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        first: int = 0,
        last: int = 0,
        tip: int = 0,
        holes: Sequence[Hole] = (),
        steps: Sequence[int] = (),
    ) -> None:
        self._connection = connection
        self._first = first
        self._last = last
        self._tip = tip
        self._holes = holes
        self._steps = steps
        self.corrupt: int = 0
        """Entries that it could not read."""

    def fetch(self, selection: Selection, after: int) -> Fetched:
        """Return some of the entries behind ``after``, and how far that is."""
        if after >= self._tip:
            return Fetched([], after)
        items: list[Entry | Lost] = []
        position = after
        if after < self._first - 1:
            self._tell_missing(after, self._first - 1, items)
            position = self._first - 1
        end = min(self._tip, position + REACH)
        clauses, bits = _condition(selection.clauses)
        start = self._block_at(position + 1)
        headers = self._connection.execute(
            f"SELECT {HEADER} FROM blocks WHERE first BETWEEN ? AND ? AND last > ? {clauses} "
            f"ORDER BY first LIMIT {BLOCKS_AT_ONCE}",
            (start, end, position, *bits),
        ).fetchall()
        for header in headers:
            block = Block._make((*header, b""))
            self._tell_missing(position, block.first - 1, items)
            items += self._entries_of(block, selection, position)
            position = block.last
            if len(items) >= ENTRIES_AT_ONCE:
                return Fetched(items, position)
        if len(headers) < BLOCKS_AT_ONCE:
            end = max(end, position)
            self._tell_missing(position, end, items)
            position = end
        return Fetched(items, position)

    def at(self, positions: Sequence[int]) -> list[Entry]:
        """Return the entries at ``positions``, which rise; those that are gone are left out."""
        everything = Selection(())
        entries: list[Entry] = []
        here: dict[int, Entry] = {}
        for position in positions:
            if position not in here:
                fetched = self._connection.execute(
                    f"SELECT {HEADER} FROM blocks WHERE first = ?", (self._block_at(position),)
                ).fetchone()
                items: Sequence[Entry | Lost] = ()
                if fetched is not None:
                    items = self._entries_of(Block._make((*fetched, b"")), everything, position - 1)
                here = {item.position: item for item in items if isinstance(item, Entry)}
            if position in here:
                entries.append(here[position])
        return entries

    def before(self, time: int, now: int) -> int:
        """Return the position after which the entries of ``time`` and later begin.

        Entries later than ``now`` do not count: the clock was wrong when they were recorded.
        """
        inner = [step for step in self._steps if self._first < step <= self._last]
        for start, end in pairwise([self._first, *inner, self._last + 1]):
            found = self._first_of(time, start, end)
            if found is not None and found[1] <= now:
                return found[0] - 1
        return self._last

    def _first_of(self, time: int, start: int, end: int) -> tuple[int, int] | None:
        """Return the first entry of ``time`` or later, and its time, where times only rise."""
        low, high = start, end
        while low < high:  # the first position whose block ends at ``time`` or later
            middle = (low + high) // 2
            row = self._connection.execute(
                "SELECT last, until FROM blocks WHERE first <= ? ORDER BY first DESC LIMIT 1",
                (middle,),
            ).fetchone()
            if row is None or row[1] < time:
                low = max(middle, row[0] if row else 0) + 1
            else:
                high = middle
        if low >= end:
            return None
        position = self._block_at(low)
        header = self._connection.execute(
            f"SELECT {HEADER} FROM blocks WHERE first = ?", (position,)
        ).fetchone()
        block = Block._make((*header, b""))
        try:
            times = decode_keys(block).times
        except DamagedBlock:
            return position, time
        for count, recorded_at in times:
            if recorded_at >= time:
                return position, recorded_at
            position += count
        return position, block.until

    def count_back(self, selection: Selection, count: int, before: int) -> Counted:
        """Look for the newest ``count`` wanted entries before position ``before``."""
        clauses, bits = _condition(selection.clauses)
        headers = self._connection.execute(
            f"SELECT {HEADER} FROM blocks WHERE first < ? AND first > ? {clauses} "
            f"ORDER BY first DESC LIMIT {BLOCKS_AT_ONCE}",
            (before, before - REACH, *bits),
        ).fetchall()
        position = before - 1
        for header in headers:
            block = Block._make((*header, b""))
            items = self._entries_of(block, selection, block.first - 1)
            found = [item for item in items if isinstance(item, Entry)]
            if len(found) >= count:
                return Counted(found[-count].position - 1, 0, 0)
            count -= len(found)
            position = block.first - 1
        if len(headers) < BLOCKS_AT_ONCE:
            position = min(position, before - REACH)
        if position < self._first:
            return Counted(self._first - 1 if self._first else 0, 0, 0)
        return Counted(position, count, position + 1)

    def ends(self) -> tuple[int, int, int]:
        """Return the oldest and the newest position, and when the newest was recorded."""
        (first,) = self._connection.execute("SELECT min(first) FROM blocks").fetchone()
        newest = self._connection.execute(
            "SELECT last, until FROM blocks ORDER BY first DESC LIMIT 1"
        ).fetchone()
        return (first, *newest) if newest is not None else (0, 0, 0)

    def trail(self, last: int) -> list[Piece]:
        """Return the small blocks at the end, if that is at position ``last``."""
        pieces: list[Piece] = []
        since = None
        for row in self._connection.execute(
            f"SELECT {COLUMNS} FROM blocks ORDER BY first DESC LIMIT {3 * FAN}"
        ):
            block = Block(*row)
            if block.last != last or block.size >= BLOCK:
                break
            if since is not None and block.until > since:
                break  # the clock was set back; times never go back within a block
            try:
                keys = decode_keys(block)
                entries = decode(block, keys, [True] * len(keys.keys), block.first - 1)
            except DamagedBlock:
                break
            recorded: list[Recorded] = [
                (entry.event, microseconds(entry.recorded_at)) for entry in entries
            ]
            pieces.append(Piece(block.first, recorded, is_stored=True))
            last, since = block.first - 1, block.since
        return pieces[::-1]

    def _entries_of(self, block: Block, selection: Selection, after: int) -> Sequence[Entry | Lost]:
        try:
            keys = decode_keys(block)
            wanted = selection.wanted(keys)
            if not any(wanted):
                return ()
            (rows,) = self._connection.execute(
                "SELECT rows FROM blocks WHERE first = ?", (block.first,)
            ).fetchone()
            return decode(block._replace(rows=rows), keys, wanted, after)
        except DamagedBlock:
            self.corrupt += block.last - max(after, block.first - 1)
            return [Lost(block.last, block.last - max(after, block.first - 1), is_damage=True)]

    def _block_at(self, position: int) -> int:
        (first,) = self._connection.execute(
            "SELECT max(first) FROM blocks WHERE first <= ?", (position,)
        ).fetchone()
        return first if first is not None else position

    def _tell_missing(self, after: int, end: int, items: list[Entry | Lost]) -> None:
        """Add what was lost behind ``after``, up to ``end``: to retention, or in holes."""
        if end <= after:
            return
        retired = max(0, min(end, self._first - 1) - after)
        lost = 0
        for hole in self._holes:
            overlap = min(end, hole.high, self._first - 1) - max(after + 1, hole.low) + 1
            retired -= max(0, overlap)
            if after < hole.low <= end:
                lost += hole.lost
        if retired + lost > 0:
            items.append(Lost(end, retired + lost, is_damage=lost > 0))


def _condition(clauses: Sequence[Clause]) -> tuple[str, list[int]]:
    """Say in SQL which blocks can hold something wanted."""
    if not clauses:
        return "", []
    alternatives, bits = [], []
    for clause in clauses:
        terms = []
        for column, mask in zip(Clause._fields, clause, strict=True):
            if mask != EVERYTHING:
                terms.append(f"{column} & ? != 0")
                bits.append(mask)
        alternatives.append(" AND ".join(terms))
    return f"AND ({' OR '.join(f'({each})' for each in alternatives)})", bits
