"""``QueueList``: the open queues of a bus in the order of their numbers, for pages.

The caller of a page gives the number of the last queue of its previous page, and queues come and
go between two pages. A dict is in order too, but to find the place after a number it visits every
queue before it: 10 ms for a million. Here the queues are in blocks, and two binary searches find
the place.

Rejected: one sorted list. To remove one of a million queues would move all that follow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter

from edr.bus.bounded_queue import BoundedQueue

BLOCK_SIZE = 512
"""Queues in a block, at most. A removal moves half of them: 0.1 µs. Two neighbours have more
than half of it together, so that there are few blocks."""

_number = attrgetter("number")


class QueueList:
    """Queues in the order of their numbers. Numbers rise with each ``append``."""

    __slots__ = ("_blocks", "_firsts")

    def __init__(self) -> None:
        self._blocks: list[list[BoundedQueue]] = []
        self._firsts: list[
            int
        ] = []  # of each block: the lowest number of its queues, or one below it

    def append(self, queue: BoundedQueue) -> None:
        """Add ``queue``, whose number is above all others."""
        if not self._blocks or len(self._blocks[-1]) >= BLOCK_SIZE:
            self._blocks.append([])
            self._firsts.append(queue.number)
        self._blocks[-1].append(queue)

    def remove(self, queue: BoundedQueue) -> None:
        """Remove ``queue``, which must be here."""
        at = self._block_of(queue.number)
        block = self._blocks[at]
        del block[bisect_left(block, queue.number, key=_number)]
        if not block:
            del self._blocks[at], self._firsts[at]
            return
        for left in (max(0, at - 1), at):
            if self._is_pair_small(left):
                self._blocks[left] += self._blocks.pop(left + 1)
                del self._firsts[left + 1]
                return

    def _is_pair_small(self, left: int) -> bool:
        pair = self._blocks[left : left + 2]
        return len(pair) > 1 and sum(map(len, pair)) <= BLOCK_SIZE // 2

    def page(self, after: int | None = None, limit: int | None = None) -> list[BoundedQueue]:
        """Return the queues with a number above ``after``, at most ``limit`` of them."""
        at = 0 if after is None else max(0, self._block_of(after))
        found: list[BoundedQueue] = []
        while limit is None or len(found) < limit:
            # Slices, since another thread may read while the loop's thread removes a block.
            blocks = self._blocks[at : at + 1]
            if not blocks:
                break
            block = [*blocks[0]]
            if after is not None and not found:
                del block[: bisect_right(block, after, key=_number)]
            found += block
            at += 1
        return found if limit is None else found[:limit]

    def _block_of(self, number: int) -> int:
        return bisect_right(self._firsts, number) - 1
