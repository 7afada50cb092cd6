"""``Seen``: the ids of events that a bus has lately sent or received, so that none goes round.

The problem: where two buses share two brokers, or three form a ring, an event that is passed on
comes back. Each bus has **one** window of the ids that went out and came in, whatever number of
links it has: one window for each link would let an event in once by every one of them.

Beside each id stand the hops, how many links the event crossed on its way here. They bound what
outlives the window: an event is passed on only so often.

Rejected: a Bloom filter (it would drop events that were never here); asking the sender's name (a
bus that passes on what it received is the sender of it).

Cost: some 0.3 µs and 200 bytes an event; 13 MB for a window that is full.
"""

from __future__ import annotations

import hashlib
from collections import deque
from weakref import WeakKeyDictionary

from edr.bus import Bus

WINDOW = 65_536
"""Ids that are remembered: half a minute at 2,000 events a second, which is more than a broker
takes to send back what it ever will."""

_LONGEST_ID = 64
"""An id made here has 32 characters. One that somebody made a megabyte long is kept as a digest."""


class Seen:
    """The last ids that a bus has sent or received, each with its hops."""

    __slots__ = ("_hops", "_order", "_window")

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._hops: dict[str, int] = {}
        # A dict alone would do; but to find its oldest key takes the longer, the more were removed.
        self._order: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._hops)

    def is_new(self, event_id: str, hops: int) -> bool:
        """Take note of an event that came in after ``hops``; tell whether it was not here yet."""
        key = event_id if len(event_id) <= _LONGEST_ID else _digest(event_id)
        if key in self._hops:
            return False
        self._add(key, hops)
        return True

    def hops(self, event_id: str) -> int:
        """Take note of an event that goes out; tell how many links it crossed: 0 if made here."""
        key = event_id if len(event_id) <= _LONGEST_ID else _digest(event_id)
        known = self._hops.get(key)
        if known is None:
            self._add(key, 0)
            return 0
        return known

    def _add(self, key: str, hops: int) -> None:
        if len(self._order) >= self._window:
            del self._hops[self._order.popleft()]
        self._hops[key] = hops
        self._order.append(key)


def seen_of(bus: Bus) -> Seen:
    """Return the one window of ``bus``, which lives as long as the bus does."""
    seen = _windows.get(bus)
    if seen is None:
        seen = _windows[bus] = Seen()
    return seen


_windows: WeakKeyDictionary[Bus, Seen] = WeakKeyDictionary()


def _digest(event_id: str) -> str:
    # In a form that no short id takes by chance, or by intent of anybody who may send here.
    return "~" + hashlib.blake2b(event_id.encode(), digest_size=32).hexdigest()
