"""``Trail``: how small blocks at the end of a journal are merged into large ones. Pure.

Who commits one event at a time would leave a block for each. Merging the last block anew in every
commit would write each event 128 times over. So small blocks are left until there are 16 of
them, and then become one; 16 of those become blocks of 256. Each event is written three times at
most, and fewer than 64 blocks are ever small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edr.journal.codec import BLOCK, Recorded

FAN = 16
"""Small blocks that become one; the square of it is ``BLOCK``."""


class Piece(NamedTuple):
    """Entries that are one block, or will be."""

    first: int
    recorded: list[Recorded]
    is_stored: bool

    @property
    def last(self) -> int:
        """Position of the last entry."""
        return self.first + len(self.recorded) - 1


class Change(NamedTuple):
    """What a commit does to the blocks."""

    remove: list[int]
    """Positions at which blocks begin that are part of others now."""
    insert: list[Piece]
    trail: list[Piece]
    """The pieces that may be merged yet, when the commit is through."""


def grown(trail: Sequence[Piece], first: int, recorded: Sequence[Recorded]) -> Change:
    """Add ``recorded`` behind ``trail``, and merge what is due."""
    pieces = list(trail)
    pieces += [
        Piece(first + start, list(recorded[start : start + BLOCK]), is_stored=False)
        for start in range(0, len(recorded), BLOCK)
    ]
    before = {piece.first for piece in trail}
    pieces = _merged_from(_start_of_end(pieces, lambda size: size < FAN), FAN, pieces)
    middling = _start_of_end(pieces, lambda size: FAN <= size < BLOCK)
    all_small = _start_of_end(pieces, lambda size: size < BLOCK)
    merged = _merged_from(middling, FAN, pieces)
    if merged is pieces:  # small and middling ones in turns would never be enough of a kind
        merged = _merged_from(all_small, 2 * FAN, pieces)
    insert = [piece for piece in merged if not piece.is_stored]
    remove = sorted(before - {piece.first for piece in merged if piece.is_stored})
    if merged is not pieces:
        return Change(remove, insert, [])
    left = [Piece(piece.first, piece.recorded, is_stored=True) for piece in pieces[all_small:]]
    return Change(remove, insert, left)


def _merged_from(start: int, enough: int, pieces: list[Piece]) -> list[Piece]:
    """Merge the pieces from ``start`` on, if they are enough."""
    if len(pieces) - start < enough:
        return pieces
    groups: list[list[Piece]] = [[]]
    count = 0
    for piece in pieces[start:]:
        if count + len(piece.recorded) > BLOCK:
            groups.append([])
            count = 0
        groups[-1].append(piece)
        count += len(piece.recorded)
    return pieces[:start] + [_one(group) for group in groups if group]


def _one(group: list[Piece]) -> Piece:
    if len(group) == 1:
        return group[0]
    recorded = [each for piece in group for each in piece.recorded]
    return Piece(group[0].first, recorded, is_stored=False)


def _start_of_end(pieces: Sequence[Piece], belongs: Callable[[int], bool]) -> int:
    start = len(pieces)
    while start and belongs(len(pieces[start - 1].recorded)):
        start -= 1
    return start
