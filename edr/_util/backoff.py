"""``Backoff``: the pauses between the attempts of something that fails."""

from __future__ import annotations


class Backoff:
    """Gives the seconds to wait before each attempt: doubled each time, up to a maximum.

    Args:
        first: seconds before the first repetition; 0 for no pauses at all.
        longest: the most seconds; without a maximum, doubling reaches hours.
    """

    __slots__ = ("_first", "_longest", "_next")

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = min(first, longest)

    def next(self) -> float:
        """Return the seconds to wait now, and double them for the next call."""
        pause = self._next
        self._next = min(2 * pause, self._longest)
        return pause

    def reset(self) -> None:
        """Start over with the first pause, after a success."""
        self._next = min(self._first, self._longest)
