"""``CpuShare``: limits one observer to a share of the time of the event loop."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

SHARE = 0.05
"""Of the loop's time. Twenty observers of a busy bus can then take all of it, one does not matter.
An event takes 7 µs in the first tail, which encodes it, and 2 µs in the others. So a tail shows at
least 7,000 events per second."""

BURST = 0.05
"""Seconds of work that may be done at once after a pause, such as for the events of ``last``."""


class CpuShare:
    """Says how long to pause after some work, so that the work takes at most a share of the time.

    It is a token bucket: time fills it, and work empties it. The work between ``start`` and
    ``stop`` does not wait for anything.

    Args:
        now: the time of the loop in seconds.
        spent: a clock for the work, in seconds. By default the CPU time of the thread: the time in
            which other processes run does not count.
        share: work per time.
        burst: seconds of work that the bucket holds.
    """

    def __init__(
        self,
        now: Callable[[], float],
        spent: Callable[[], float] = thread_time,
        share: float = SHARE,
        burst: float = BURST,
    ) -> None:
        self._now = now
        self._spent = spent
        self._share = share
        self._burst = burst
        self._left = burst
        self._filled = now()
        self._started = 0.0

    def start(self) -> None:
        """Begin a piece of work."""
        self._started = self._spent()

    def stop(self) -> None:
        """End it."""
        self._left -= self._spent() - self._started

    def pause(self) -> float:
        """Return the seconds to wait before the next piece of work; 0 if there is time left."""
        now = self._now()
        self._left = min(self._burst, self._left + (now - self._filled) * self._share)
        self._filled = now
        return max(0.0, -self._left / self._share)
