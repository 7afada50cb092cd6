"""``Trail``: how small blocks at the end of a journal are merged into large ones. Pure.

A program that commits one event at a time would leave a block for each. Merging the last block
again in every commit would write each event 128 times over. So small blocks are left until there
are 16 of them, and then become one; 16 of those become blocks of 256. Each event is written three
times at most, and fewer than 64 blocks are ever small.

A large event counts as several, so the bytes of a block, of a merge and of all small blocks are
bounded as well as their number. An event that is as large as a block is a block by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

from edr.journal.codec import BLOCK, Recorded

FAN = 16
"""Small blocks that become one; the square of it is ``BLOCK``."""

BYTES_EACH = 2048
"""Bytes of JSON for which a large event counts once more. So a block of several events has half a
MiB at most, and the small blocks, which are kept in memory, have 16 MiB together."""


class Piece:
    """Entries that are one block, or will be."""

    def __init__(self, first: int, recorded: Sequence[Recorded], *, is_stored: bool) -> None:
        self.first = first
        self.recorded = recorded
        self.is_stored = is_stored

    @cached_property
    def weight(self) -> int:
        """How many entries it has, where a large one counts as several."""
        return sum(map(_weight, self.recorded))


class Change(NamedTuple):
    """What a commit does to the blocks."""

    remove: list[int]
    """Positions at which blocks begin that are part of others now."""
    insert: list[Piece]
    trail: list[Piece]
    """The pieces that may be merged later, once the commit was made."""


def grown(trail: Sequence[Piece], first: int, recorded: Sequence[Recorded]) -> Change:
    """Add ``recorded`` after ``trail``, and merge what is due."""
    pieces = [*trail, *_pieces_of(first, recorded)]
    before = {piece.first for piece in trail}
    pieces = _merged_from(_start_of_end(pieces, lambda weight: weight < FAN), FAN, pieces)
    middling = _start_of_end(pieces, lambda weight: FAN <= weight < BLOCK)
    all_small = _start_of_end(pieces, lambda weight: weight < BLOCK)
    merged = _merged_from(middling, FAN, pieces)
    if merged is pieces:  # small and middling ones in turns would never be enough of a kind
        merged = _merged_from(all_small, 2 * FAN, pieces)
    insert = [piece for piece in merged if not piece.is_stored]
    remove = sorted(before - {piece.first for piece in merged if piece.is_stored})
    if merged is not pieces:
        return Change(remove, insert, [])
    left = [Piece(piece.first, piece.recorded, is_stored=True) for piece in pieces[all_small:]]
    return Change(remove, insert, left)


def _weight(recorded: Recorded) -> int:
    return 1 + len(recorded[0].data) // BYTES_EACH


def _pieces_of(first: int, recorded: Sequence[Recorded]) -> list[Piece]:
    """Cut what a commit adds into pieces of at most a block."""
    pieces = []
    start = weight = 0
    for end, each in enumerate(recorded):
        more = _weight(each)
        if weight and weight + more > BLOCK:
            pieces.append(Piece(first + start, recorded[start:end], is_stored=False))
            start, weight = end, 0
        weight += more
    pieces.append(Piece(first + start, recorded[start:], is_stored=False))
    return pieces


def _merged_from(start: int, enough: int, pieces: list[Piece]) -> list[Piece]:
    """Merge the pieces from ``start`` on, if they are enough."""
    if len(pieces) - start < enough:
        return pieces
    groups: list[list[Piece]] = [[]]
    weight = 0
    for piece in pieces[start:]:
        if weight + piece.weight > BLOCK:
            groups.append([])
            weight = 0
        groups[-1].append(piece)
        weight += piece.weight
    return pieces[:start] + [_one(group) for group in groups if group]


def _one(group: list[Piece]) -> Piece:
    if len(group) == 1:
        return group[0]
    recorded = [each for piece in group for each in piece.recorded]
    return Piece(group[0].first, recorded, is_stored=False)


def _start_of_end(pieces: Sequence[Piece], belongs: Callable[[int], bool]) -> int:
    start = len(pieces)
    while start and belongs(pieces[start - 1].weight):
        start -= 1
    return start
