"""``GapMarkers``: the gaps among the events of one queue. Only with ``gaps=True``.

A part of ``BoundedQueue``. It never calls the queue: it changes the deque that it is given.
Adjacent gaps are one, so there is at most one for each event; they take no capacity.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from edr.bus.overflow import Gap
from edr.records import Event

Items: TypeAlias = deque[Event | Gap]


class GapMarkers:
    """Puts gaps into a deque of events, and counts them."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count: int = 0
        """The number of gaps in the deque."""

    def append(self, items: Items, missed: int) -> None:
        """Put a gap at the end, or add ``missed`` to the gap that is there."""
        if items and isinstance(items[-1], Gap):
            items[-1] = Gap(items[-1].missed + missed)
        else:
            items.append(Gap(missed))
            self.count += 1

    def drop_oldest(self, items: Items) -> None:
        """Put a gap in the place of the oldest event. There must be one."""
        missed = self._pop_first(items) + 1
        items.popleft()
        missed += self._pop_first(items)  # after an event that was put back
        items.appendleft(Gap(missed))
        self.count += 1

    def _pop_first(self, items: Items) -> int:
        """Remove the gaps at the head; return the number of events they missed."""
        missed = 0
        while items and isinstance(items[0], Gap):
            missed += items[0].missed
            items.popleft()
            self.count -= 1
        return missed
