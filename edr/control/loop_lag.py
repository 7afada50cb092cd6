"""``LoopLag``: measures how late the event loop runs its callbacks, while an observer is there."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

INTERVAL = 0.1
"""Seconds between two measurements. One costs about 10 µs."""


class LoopLag:
    """Measures the delay of a timer, within ``with LoopLag() as lag``."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worst = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._schedule()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._due = self._loop.time() + INTERVAL
        self._timer = self._loop.call_at(self._due, self._measure)

    def _measure(self) -> None:
        self._worst = max(self._worst, self._loop.time() - self._due)
        self._schedule()

    def take(self) -> float:
        """Return the longest delay since the last call, in seconds."""
        overdue = self._loop.time() - self._due
        worst, self._worst = max(self._worst, overdue), 0.0
        return worst
