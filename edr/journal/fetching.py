"""``Fetcher``: reads the blocks of a journal. Synchronous.

It returns the entries after a position, in pieces of bounded work, because appends wait for the
same thread. A fetch walks the headers of the blocks. Their masks tell which blocks may contain
matching entries. It reads the keys of those, and the rows only if a key matches.

Positions are consecutive: between two blocks there is a known missing range, or damage. So each
header is checked against its checksum and its neighbours, even if its block is skipped. There are
two kinds of damage:

* **In the keys or rows of a block.** The entries of this block are lost; others are not affected.
* **In a header, or a block that is missing or out of order.** Then the database cannot be trusted
  to find blocks. This raises ``sqlite3.DatabaseError``, and the store salvages the journal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import pairwise
from typing import NamedTuple

from edr.journal.blocks import BlockTable
from edr.journal.codec import (
    MAX_BLOCK_ENTRIES,
    Block,
    DamagedBlockError,
    Recorded,
    decode,
    decode_keys,
    microseconds,
    row_of,
)
from edr.journal.compaction import MERGE_COUNT, Piece, weight_of
from edr.journal.journal import Entry
from edr.journal.retention import existed
from edr.journal.schema import MissingRange
from edr.journal.selection import Selection

MAX_FETCH_BLOCKS = 8
"""Blocks that a fetch reads at most, about 10 ms of work."""

MAX_FETCH_ENTRIES = 512
"""Entries at which a fetch stops: two blocks, so that a consumer of all entries gets them soon."""

MAX_FETCH_BYTES = 4 << 20
"""Stored bytes of blocks at which a fetch stops, so that large events do not fill the memory."""

MAX_FETCH_HEADERS = 2048
"""Headers at which a fetch stops: about 10 ms of work if no block matches."""

MAX_SMALL_BYTES = 1 << 20
"""Stored bytes of small blocks that opening reads, to merge them later. Blocks of large events are
not worth merging, and would fill the memory."""


class Lost(NamedTuple):
    """Stands in the place of lost entries."""

    position: int
    """Position of the last lost entry."""
    missed: int
    """Number of lost entries, matching or not."""
    is_damage: bool
    """Whether damage lost some of them. Otherwise retention removed them."""


class Fetched(NamedTuple):
    """Some of the items after a position."""

    items: list[Entry | Lost]
    position: int
    """All matching entries up to this position are in ``items``."""


class Counted(NamedTuple):
    """The progress of a search for the newest entries."""

    position: int
    """The counted entries are after this position."""
    missing: int
    """Number of entries still to be found; 0 if all were found or the journal has no more."""
    before: int
    """Continue with the entries before this position."""


class Fetcher:
    """Reads the blocks of one committed state. It is valid until the next commit.

    Args:
        blocks: the table of blocks.
        first: position of the oldest entry.
        last: position of the newest.
        assigned_up_to: the newest assigned position, or the highest possible one after a crash.
        missing_ranges: positions without an entry.
        steps: positions of entries with an earlier time than the entry before.
    """

    def __init__(
        self,
        blocks: BlockTable,
        first: int = 0,
        last: int = 0,
        assigned_up_to: int = 0,
        missing_ranges: Sequence[MissingRange] = (),
        steps: Sequence[int] = (),
    ) -> None:
        self._blocks = blocks
        self._first = first
        self._last = last
        self._assigned_up_to = assigned_up_to
        self._holes = missing_ranges
        self._steps = steps
        self._bytes = 0
        self.corrupt: dict[int, int] = {}
        """First position and number of entries of each unreadable block."""

    def fetch(self, selection: Selection, after: int) -> Fetched:
        """Return some of the entries after ``after``, and the position searched up to."""
        if after >= self._assigned_up_to:
            return Fetched([], after)
        items: list[Entry | Lost] = []
        position = after
        blocks = 0
        self._bytes = 0
        with closing(self._headers(after)) as headers:
            for count, header in enumerate(headers, 1):
                if header.first > position + 1:
                    self._add_missing(position, header.first - 1, items)
                if selection.may_match(header):
                    items += self._entries_of(header, selection, max(position, header.first - 1))
                    blocks += 1
                position = header.last
                if (
                    blocks >= MAX_FETCH_BLOCKS
                    or len(items) >= MAX_FETCH_ENTRIES
                    or self._bytes >= MAX_FETCH_BYTES
                    or count >= MAX_FETCH_HEADERS
                ):
                    return Fetched(items, position)
        self._add_missing(position, self._assigned_up_to, items)
        return Fetched(items, self._assigned_up_to)

    def at(self, positions: Sequence[int]) -> list[Entry]:
        """Return the entries at ``positions``, which must rise, except removed ones."""
        everything = Selection(())
        entries: list[Entry] = []
        here: dict[int, Entry] = {}
        for position in positions:
            if position not in here:
                header = self._block_before(position)
                items: Sequence[Entry | Lost] = ()
                if header is not None and header.last >= position:
                    items = self._entries_of(header, everything, position - 1)
                here = {item.position: item for item in items if isinstance(item, Entry)}
            if position in here:
                entries.append(here[position])
        return entries

    def before(self, time: int, now: int) -> int:
        """Return the position after which the entries of ``time`` and later begin.

        Entries later than ``now`` are ignored: the clock was wrong when they were recorded.
        """
        inner = [step for step in self._steps if self._first < step <= self._last]
        for start, end in pairwise([self._first, *inner, self._last + 1]):
            found = self._first_of(time, start, end)
            if found is not None and found[1] <= now:
                return found[0] - 1
        return self._last

    def _first_of(self, time: int, start: int, end: int) -> tuple[int, int] | None:
        """Return the first entry of ``time`` or later, and its time, in a range of rising times."""
        low, high = start, end
        while low < high:  # the first position whose block ends at ``time`` or later
            middle = (low + high) // 2
            header = self._block_before(middle)
            if header is None or header.until < time:
                low = max(middle, header.last if header else 0) + 1
            else:
                high = middle
        if low >= end:
            return None
        header = self._block_before(low)
        assert header is not None
        position = header.first
        try:
            times = decode_keys(self._with("keys", header)).times
        except DamagedBlockError:
            return position, time
        for count, recorded_at in times:
            if recorded_at >= time:
                return position, recorded_at
            position += count
        return position, header.until

    def count_back(self, selection: Selection, count: int, before: int) -> Counted:
        """Search the newest ``count`` matching entries before position ``before``."""
        position = before - 1
        blocks = 0
        self._bytes = 0
        with closing(self._blocks.descending(before)) as headers:
            for looked, header in enumerate(headers, 1):
                self._check_missing(header.last, position)
                if selection.may_match(header):
                    items = self._entries_of(header, selection, header.first - 1)
                    found = [item for item in items if isinstance(item, Entry)]
                    if len(found) >= count:
                        return Counted(found[-count].position - 1, 0, 0)
                    count -= len(found)
                    blocks += 1
                position = header.first - 1
                if (
                    blocks >= MAX_FETCH_BLOCKS
                    or self._bytes >= MAX_FETCH_BYTES
                    or looked >= MAX_FETCH_HEADERS
                ):
                    return Counted(position, count, position + 1)
        return Counted(max(0, self._first - 1), 0, 0)

    def ends(self) -> tuple[Block, Block] | None:
        """Return the headers of the oldest and the newest block, or None."""
        oldest = _first(self._blocks.ascending(0))
        newest = _first(self._blocks.descending())
        return None if oldest is None or newest is None else (oldest, newest)

    def verify(self) -> tuple[int, list[Block]]:
        """Read every block. Return the number of sound entries, and the damaged headers."""
        sound = position = 0
        damaged = []
        with closing(self._headers(0)) as headers:
            for header in headers:
                self._check_missing(position, header.first - 1)
                position = header.last
                try:
                    self._with("rows", self._with("keys", header)).check()
                    sound += header.size
                except DamagedBlockError:
                    damaged.append(header)
        self._check_missing(position, self._assigned_up_to)
        return sound, damaged

    def small_blocks(self, last: int) -> list[Piece]:
        """Return the small blocks at the end, if the end is at position ``last``."""
        pieces: list[Piece] = []
        since = None
        self._bytes = 0
        with closing(self._blocks.descending(last + 1)) as headers:
            for header in headers:
                if (
                    header.last != last
                    or header.size >= MAX_BLOCK_ENTRIES
                    or len(pieces) == 3 * MERGE_COUNT
                ):
                    break
                if since is not None and header.until > since:
                    break  # the clock was set back; times never go back within a block
                if self._bytes + self._blocks.size(header.first) > MAX_SMALL_BYTES:
                    break
                try:
                    block = self._with("rows", self._with("keys", header))
                    keys = decode_keys(block)
                    entries = decode(block, keys, [True] * len(keys.keys), block.first - 1)
                except DamagedBlockError:
                    break
                recorded: list[Recorded] = [
                    (row_of(entry.event), microseconds(entry.recorded_at)) for entry in entries
                ]
                weight = sum(map(weight_of, recorded))
                pieces.append(Piece(header.first, recorded, weight, is_stored=True))
                last, since = header.first - 1, header.since
        return pieces[::-1]

    # Inner parts

    def _headers(self, after: int) -> Generator[Block, None, None]:
        """Yield the headers of the blocks that hold positions after ``after``, in order."""
        with closing(self._blocks.ascending(after + 1)) as headers:
            last = 0
            for header in headers:
                if header.first <= last:
                    raise sqlite3.DatabaseError(f"the block at position {last} is out of order")
                last = header.last
                if last > after:
                    yield header

    def _block_before(self, position: int) -> Block | None:
        """Return the header of the last block that begins at ``position`` or before."""
        header = _first(self._blocks.descending(position + 1))
        self._check_missing(
            header.last if header is not None else 0, min(position, self._assigned_up_to)
        )
        return header

    def _with(self, column: str, header: Block) -> Block:
        """Return ``header`` with its keys or rows, unchecked."""
        stored = self._blocks.stored(column, header.first)
        if stored is None:
            raise sqlite3.DatabaseError(f"the block at position {header.first} is out of order")
        if isinstance(stored, bytes):  # otherwise a bit of its type was flipped
            self._bytes += len(stored)
        return header._replace(**{column: stored})

    def _entries_of(
        self, header: Block, selection: Selection, after: int
    ) -> Sequence[Entry | Lost]:
        try:
            block = self._with("keys", header)
            keys = decode_keys(block)
            matches = selection.match_keys(keys)
            if not any(matches):
                return ()
            return decode(self._with("rows", block), keys, matches, after)
        except DamagedBlockError:
            self.corrupt[header.first] = header.size
            return [Lost(header.last, header.last - after, is_damage=True)]

    def _add_missing(self, after: int, end: int, items: list[Entry | Lost]) -> None:
        """Add the entries lost after ``after``, up to ``end``, to retention or damage."""
        if end <= after:
            return
        self._check_missing(after, end)
        retired_to = min(end, self._first - 1)
        retired = existed(self._holes, after + 1, retired_to)
        lost, last = 0, retired_to if retired else 0
        for missing in self._holes:
            if count := missing.missed(after, end):
                lost += count
                last = max(last, min(end, max(after, missing.low - 1) + count))
        if retired + lost:
            items.append(Lost(last, retired + lost, is_damage=lost > 0))

    def _check_missing(self, after: int, end: int) -> None:
        """Raise if a block after ``after``, up to ``end``, is missing.

        Raises:
            sqlite3.DatabaseError: neither retention nor a salvage removed these positions.
        """
        low = max(after + 1, self._first)
        if low <= end and existed(self._holes, low, end):
            raise sqlite3.DatabaseError(f"the blocks with positions {low} to {end} are missing")


def _first(headers: Generator[Block, None, None]) -> Block | None:
    with closing(headers):
        return next(headers, None)
