"""``compacted``: merges the small blocks at the end of a journal into large ones. Pure.

A program that commits one event at a time would leave a block for each event. Merging the last
block again in every commit would write each event 128 times. So small blocks are left alone until
there are 16 of them, which become one; 16 of those become a block of 256. Each event is written
three times at most, and fewer than 64 blocks are ever small.

A large event counts as several entries. So the bytes of a block, of a merge and of all small blocks
are bounded as well as their number. An event as large as a block is a block of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edr.journal.codec import MAX_BLOCK_ENTRIES, Recorded

MERGE_COUNT = 16
"""Small blocks that are merged into one. Its square is ``MAX_BLOCK_ENTRIES``."""

BYTES_PER_ENTRY = 2048
"""Bytes of JSON for which a large event counts as one more entry. So a block of several events has
at most 0.5 MiB, and all small blocks, which are kept in memory, have at most 16 MiB."""


class Piece(NamedTuple):
    """Entries that are one block, or become one with the next commit."""

    first: int
    recorded: Sequence[Recorded]
    weight: int
    """Number of entries, where a large one counts as several. Computed once for each event, as the
    small blocks are examined at each commit."""
    is_stored: bool = False


class Change(NamedTuple):
    """The change that a commit makes to the blocks."""

    remove: list[int]
    """First positions of the blocks that were merged into others."""
    insert: list[Piece]
    small_blocks: list[Piece]
    """The pieces that may be merged later, after this commit."""


def compacted(small_blocks: Sequence[Piece], first: int, recorded: Sequence[Recorded]) -> Change:
    """Add ``recorded`` at position ``first`` after ``small_blocks``, and merge them when due."""
    pieces = [*small_blocks, *_pieces_of(first, recorded)]
    before = {piece.first for piece in small_blocks}
    pieces = _merged_from(
        _start_of_end(pieces, lambda weight: weight < MERGE_COUNT), MERGE_COUNT, pieces
    )
    medium = _start_of_end(pieces, lambda weight: MERGE_COUNT <= weight < MAX_BLOCK_ENTRIES)
    all_small = _start_of_end(pieces, lambda weight: weight < MAX_BLOCK_ENTRIES)
    merged = _merged_from(medium, MERGE_COUNT, pieces)
    if merged is pieces:  # alternating small and medium pieces never form a run of one size
        merged = _merged_from(all_small, 2 * MERGE_COUNT, pieces)
    insert = [piece for piece in merged if not piece.is_stored]
    remove = sorted(before - {piece.first for piece in merged if piece.is_stored})
    if merged is not pieces:
        return Change(remove, insert, [])
    left = [piece._replace(is_stored=True) for piece in pieces[all_small:]]
    return Change(remove, insert, left)


def weight_of(recorded: Recorded) -> int:
    """Return the weight of one entry."""
    return 1 + len(recorded[0].data) // BYTES_PER_ENTRY


def _pieces_of(first: int, recorded: Sequence[Recorded]) -> list[Piece]:
    """Split the entries of a commit into pieces of at most a block."""
    pieces = []
    start = weight = 0
    for end, each in enumerate(recorded):
        more = weight_of(each)
        if weight and weight + more > MAX_BLOCK_ENTRIES:
            pieces.append(Piece(first + start, recorded[start:end], weight))
            start, weight = end, 0
        weight += more
    pieces.append(Piece(first + start, recorded[start:], weight))
    return pieces


def _merged_from(start: int, enough: int, pieces: list[Piece]) -> list[Piece]:
    """Merge the pieces from index ``start`` on, if there are at least ``enough``."""
    if len(pieces) - start < enough:
        return pieces
    groups: list[list[Piece]] = [[]]
    weight = 0
    for piece in pieces[start:]:
        if weight + piece.weight > MAX_BLOCK_ENTRIES:
            groups.append([])
            weight = 0
        groups[-1].append(piece)
        weight += piece.weight
    return pieces[:start] + [_one(group) for group in groups if group]


def _one(group: list[Piece]) -> Piece:
    if len(group) == 1:
        return group[0]
    recorded = [each for piece in group for each in piece.recorded]
    return Piece(group[0].first, recorded, sum([piece.weight for piece in group]))


def _start_of_end(pieces: Sequence[Piece], belongs: Callable[[int], bool]) -> int:
    start = len(pieces)
    while start and belongs(pieces[start - 1].weight):
        start -= 1
    return start
