"""``Pacing``: the delay before the next attempt of a sink that failed.

Full jitter: each delay is drawn between 0 and a limit that doubles. So a thousand senders that lost
one receiver at the same moment spread over the whole delay. The limit starts over only after a time
of health, so a receiver that fails every few seconds is not sent to at full speed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic

from edr.sinks.errors import RefusedError, RetryError
from edr.sinks.options import Retry

SLOW_DELAY = 60.0
"""Seconds between two attempts that need a person to repair something first."""

HEALTHY_AFTER = 60.0
"""Seconds without a failure after which the delays start over."""


class Pacing:
    """The delays of one sink.

    Args:
        retry: the limits.
        clock: returns the time in seconds.
        draw: returns a number between the two that it gets.
    """

    def __init__(
        self,
        retry: Retry,
        *,
        clock: Callable[[], float] = monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._retry = retry
        self._clock = clock
        self._draw = draw
        self._limit = min(retry.base, retry.cap)
        self._healthy_since: float | None = None
        """The first success after the last failure."""

    def delay_after(self, error: BaseException) -> float:
        """Return the seconds to wait after a failure."""
        now = self._clock()
        if self._healthy_since is not None and now - self._healthy_since >= HEALTHY_AFTER:
            self._limit = min(self._retry.base, self._retry.cap)
        self._healthy_since = None
        delay = self._draw(0.0, self._limit)
        self._limit = min(self._limit * self._retry.factor, self._retry.cap)
        if isinstance(error, RefusedError):
            delay = SLOW_DELAY
        elif isinstance(error, RetryError):
            if error.slow:
                delay = max(SLOW_DELAY, self._retry.cap)
            if error.after is not None:
                delay = max(delay, error.after)
        return delay

    def succeeded(self) -> None:
        """Called after each success. The delays start over once health has lasted."""
        if self._healthy_since is None:
            self._healthy_since = self._clock()
