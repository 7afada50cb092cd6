"""``Steps``: long work in the event loop, in steps of a few milliseconds.

A step is measured and not counted: a subscription may have one binding or a thousand, and a body
pattern may take 10 µs or 1 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

STEP = 0.003
"""Seconds. The loop must not be held for more than 10 ms, also with one longer item."""

MAX_SIZE = 200
"""Items of one step of the quickest kind."""


class Steps:
    """Lets the loop run between the steps of one work.

    ``size`` is the number of items that fit into a step, for work that is done in pages. It begins
    small, and follows the time that the last page took.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.size: int = 8
        self._clock = clock
        self._started = clock()

    async def next(self) -> None:
        """End an item: let the loop run if this step took its time. Call it after each item."""
        if self._clock() - self._started >= STEP:
            await self._turn()

    async def next_page(self) -> None:
        """End a page of ``size`` items: let the loop run, and set the size of the next one."""
        took = self._clock() - self._started
        if took < STEP / 2:
            self.size = min(2 * self.size, MAX_SIZE)
        elif took > STEP:
            self.size = max(1, int(self.size * STEP / took))
        await self._turn()

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        self._started = self._clock()
