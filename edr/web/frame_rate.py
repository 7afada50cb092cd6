"""``FrameRate``: limits the frames of one client, as a token bucket without a timer."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class FrameRate:
    """Allows ``per_second`` frames on average, and ``burst`` at once.

    Args:
        per_second: frames in a second; above 0.
        burst: frames that a client which was silent may send at once; at least 1.
        clock: returns the time in seconds.
    """

    def __init__(
        self, per_second: float, burst: float, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._at = clock()

    def allows(self) -> bool:
        """Return whether one more frame is within the limit, and count it if it is."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
