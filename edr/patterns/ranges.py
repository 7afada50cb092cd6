"""The table of numeric ranges: an interval tree that is never built, over the order of floats."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right, insort
from itertools import islice
from math import inf
from typing import Generic

from edr.patterns.scalar_set import Number, Range
from edr.patterns.tables import EntryT, Held, HeldTable, compact, weight_of


class RangeTable(HeldTable[Range, EntryT]):
    """Numeric ranges in an interval tree over the order of floats.

    A number has a 64-bit key: its rank among the floats. The keys are the leaves of a complete
    binary tree that is never built. A range belongs to one node, its *fork*: the lowest one that
    has both its ends below it, so that the ends differ in the bit that the fork is about. A
    number can only be in the ranges of the forks above it, one per level in use. Within a fork,
    each range reaches from its lower half into its upper one. So if the number is in the lower
    half, the ranges that hold it are those with a lower bound up to the number, and likewise for
    the upper: a beginning of one sorted list, and no range is visited that does not hold it.

    Integers beyond 2**53 share keys with their neighbours, and keys do not distinguish open ends,
    so each found range is tested in the end. The rank of a float grows with the number, so no range
    is missed.

    A segment tree would store each range at up to 126 nodes; a balanced tree of ranges costs
    rotations, in Python, at each change.
    """

    __slots__ = ("_forks",)

    def __init__(self) -> None:
        super().__init__()
        # By the number of low bits that a fork spans, then by the bits above them.
        self._forks: dict[int, dict[int, _Fork[EntryT]]] = {}

    def link(self, operand: Range) -> None:
        held = self.held[operand] = Held(operand.test(), self.postings[operand])
        shift, above, lower, upper = _fork_of(operand)
        forks = self._forks.setdefault(shift, {})
        fork = forks.get(above)
        if fork is None:
            fork = forks[above] = _Fork()
        fork.by_lower.add(lower, held)
        fork.by_upper.add(-upper, held)

    def unlink(self, operand: Range) -> None:
        held = self.held.pop(operand)
        compact(self.held)
        shift, above, lower, upper = _fork_of(operand)
        forks = self._forks[shift]
        fork = forks[above]
        fork.by_lower.discard(lower, held)
        fork.by_upper.discard(-upper, held)
        if not fork.by_lower:
            del forks[above]
            compact(forks)
            if not forks:
                del self._forks[shift]

    def size(self, operand: Range) -> int:
        # The ranges that hold its ends: of ``[0, x)`` many hold 0, of ``[n, n + 1)`` few hold any
        # number. A value is usually in a third of them: most thresholds are seldom reached.
        ends = (operand.lower, operand.upper)
        return sum(self._count_at(_rank(each)) for each in ends if each is not None) // 3

    def _count_at(self, key: int) -> int:
        """Return how many ranges hold a number, roughly where they are many."""
        total = 0
        for shift, forks in self._forks.items():
            fork = forks.get(key >> shift)
            if fork is not None:
                in_upper_half = key >> shift - 1 & 1
                total += (
                    fork.by_upper.count_up_to(-key)
                    if in_upper_half
                    else fork.by_lower.count_up_to(key)
                )
        return total

    def candidates(self, value: Number) -> list[Held[EntryT]]:
        found: list[Held[EntryT]] = []
        key = _rank(value)
        for shift, forks in self._forks.items():
            fork = forks.get(key >> shift)
            if fork is None:
                continue
            if key >> shift - 1 & 1:
                if fork.by_upper.least <= -key:
                    found += fork.by_upper.up_to(-key)
            elif fork.by_lower.least <= key:
                found += fork.by_lower.up_to(key)
        return found


class _Fork(Generic[EntryT]):
    """The ranges of one node of the interval tree, twice."""

    __slots__ = ("by_lower", "by_upper")

    def __init__(self) -> None:
        self.by_lower: _SortedSets[Held[EntryT]] = _SortedSets()
        self.by_upper: _SortedSets[Held[EntryT]] = _SortedSets()  # by the negated bound


class _SortedSets(Generic[EntryT]):
    """Sets of entries by integer key, in the order of the keys.

    The keys are kept in blocks: one long list would be moved in memory at each change, which
    takes longer than all the rest from some ten thousand keys on.

    Attributes:
        least: The least key; infinity for none.
    """

    __slots__ = ("_blocks", "_highest", "_sets", "least")

    # Moving so few keys takes less time than finding the place; twice as many are split.
    _BLOCK = 512

    def __init__(self) -> None:
        self._sets: dict[int, dict[EntryT, None]] = {}
        self._blocks: list[list[int]] = []
        self._highest: list[int] = []  # of each block
        self.least: float = inf

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._sets)

    def add(self, key: int, entry: EntryT) -> None:
        """Add an entry to the set of a key."""
        entries = self._sets.get(key)
        if entries is None:
            entries = self._sets[key] = {}
            self._insert(key)
            self.least = self._blocks[0][0]
        entries[entry] = None

    def discard(self, key: int, entry: EntryT) -> None:
        """Take away an entry that is there."""
        entries = self._sets[key]
        del entries[entry]
        if not entries:
            del self._sets[key]
            compact(self._sets)
            self._delete(key)
            self.least = self._blocks[0][0] if self._blocks else inf

    def count_up_to(self, key: int) -> int:
        """Return about how many patterns the keys up to ``key`` lead to, up to some thousands."""
        total = 0
        for block in islice(self._blocks, _BLOCKS_COUNTED):
            below = block if block[-1] <= key else block[: bisect_right(block, key)]
            counted = [weight_of(self._sets[each]) for each in below[:_KEYS_COUNTED]]
            if counted:
                total += sum(counted) * len(below) // len(counted)
            if len(below) < len(block):
                break
        return total

    def up_to(self, key: int) -> list[EntryT]:
        """Return the entries of all keys up to ``key``, itself included."""
        found: list[EntryT] = []
        for block in self._blocks:
            highest = block[-1]
            for each in block if highest <= key else block[: bisect_right(block, key)]:
                found += self._sets[each]
            if highest >= key:
                break
        return found

    def _insert(self, key: int) -> None:
        if not self._blocks:
            self._blocks.append([key])
            self._highest.append(key)
            return
        at = min(bisect_left(self._highest, key), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, key)
        if len(block) >= 2 * self._BLOCK:
            self._blocks[at : at + 1] = [block[: self._BLOCK], block[self._BLOCK :]]
            self._highest.insert(at, block[self._BLOCK - 1])
            at += 1
        self._highest[at] = self._blocks[at][-1]

    def _delete(self, key: int) -> None:
        at = bisect_left(self._highest, key)
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if block:
            self._highest[at] = block[-1]
        else:
            del self._blocks[at], self._highest[at]


# To tell a long list from a short one takes no more than this.
_BLOCKS_COUNTED, _KEYS_COUNTED = 8, 64


def _fork_of(operand: Range) -> tuple[int, int, int, int]:
    """Return the fork of a range (the bits it spans, and those above), and the keys of its ends."""
    lower = _rank(-inf if operand.lower is None else operand.lower)
    upper = _rank(inf if operand.upper is None else operand.upper)
    shift = max((lower ^ upper).bit_length(), 1)
    return shift, upper >> shift, lower, upper


_pack = struct.Struct("<d").pack
_unpack = struct.Struct("<q").unpack
_SIGN = 1 << 63


def _rank(number: Number) -> int:
    """Return a 64-bit integer that grows with the number; the same for numbers very close."""
    bits: int
    try:
        (bits,) = _unpack(_pack(number))
    except (OverflowError, struct.error):  # an integer beyond all floats
        return _rank(inf if number > 0 else -inf)
    # Floats are stored as sign and magnitude, and the magnitude grows with its bits.
    return _SIGN + bits if bits >= 0 else -bits
