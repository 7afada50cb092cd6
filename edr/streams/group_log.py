"""``GroupLog``: the slots that one group received, in the order of their positions.

A place is an index into it. An index stays valid when old entries are removed and when older
entries are put before the first one, so the number of entries between two indexes is exact, even
if these entries are gone. Indexes therefore may be negative.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from operator import attrgetter

from edr.streams.window import Slot

_position = attrgetter("position")


class GroupLog:
    """The slots of one group."""

    __slots__ = ("entries", "origin", "removed_to")

    def __init__(self) -> None:
        self.entries: list[Slot] = []
        """The slots. It is always the same list. ``append`` to it is the only hot operation."""
        self.origin: int = 0
        """The index of the first entry."""
        self.removed_to: int = 0
        """The position of the last entry that was removed; 0 if none was."""

    @property
    def end(self) -> int:
        """The index of the next entry."""
        return self.origin + len(self.entries)

    def find(self, position: int) -> int:
        """Return the index of the first entry at ``position`` or after it."""
        return self.origin + bisect_left(self.entries, position, key=_position)

    def holds(self, slot: Slot) -> bool:
        """Return whether ``slot`` is among the entries."""
        at = bisect_left(self.entries, slot.position, key=_position)
        return at < len(self.entries) and self.entries[at] is slot

    def insert(self, slot: Slot) -> None:
        """Insert ``slot`` in order."""
        self.entries.insert(bisect_left(self.entries, slot.position, key=_position), slot)

    def prepend(self, slots: Iterable[Slot]) -> None:
        """Put older ``slots`` before the first entry. The indexes of the others do not change."""
        older = list(slots)
        self.entries[:0] = older
        self.origin -= len(older)

    def remove_before(self, position: int) -> None:
        """Remove the entries before ``position``."""
        count = bisect_left(self.entries, position, key=_position)
        if count:
            self.removed_to = self.entries[count - 1].position
            del self.entries[:count]
            self.origin += count
