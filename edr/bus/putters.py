"""``Putters``: the emits that wait for space in one queue, in order, and the timer of a stall.

A part of ``BoundedQueue``, made when an event first finds the queue full. It never calls the queue:
the queue adds and removes, and gives the timer a callback.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from edr._util.wakeup import wake
from edr.records import Event

if TYPE_CHECKING:
    from edr.bus.bounded_queue import BoundedQueue


class PendingPut:
    """One event that found ``queue`` full, and waits for space in it."""

    __slots__ = ("_waiter", "admitted", "event", "queue")

    def __init__(self, queue: BoundedQueue, event: Event) -> None:
        self.queue: BoundedQueue = queue
        self.event: Event = event
        self.admitted: bool | None = None
        """Whether the queue accepted the event; ``None`` while the event waits."""
        self._waiter: asyncio.Future[None] | None = None

    def resolve(self, *, admitted: bool) -> None:
        """Set ``admitted``, and wake the emit that waits."""
        self.admitted = admitted
        if self._waiter is not None:
            wake(self._waiter)

    async def resolved(self) -> None:
        """Wait until ``admitted`` is set."""
        while self.admitted is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                # Not woken after this, when its loop may be closed.
                self._waiter = None


class Putters:
    """The events that wait for space in one queue, the first of them first."""

    __slots__ = ("_last_take", "_timer", "waiting")

    def __init__(self) -> None:
        # Ordered, and not a list: a cancelled emit leaves from the middle, at once. Not a plain
        # dict: to find the first key of one becomes slow when many before it were removed.
        self.waiting: OrderedDict[PendingPut, None] = OrderedDict()
        self._last_take = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, put: PendingPut) -> None:
        """Append ``put``. The time to a stall runs from the first one."""
        if not self.waiting:
            self._last_take = asyncio.get_running_loop().time()
        self.waiting[put] = None

    def remove(self, put: PendingPut) -> None:
        """Remove ``put``, which may be anywhere."""
        del self.waiting[put]

    def pop_first(self) -> PendingPut:
        """Remove and return the first."""
        return self.waiting.popitem(last=False)[0]

    def pop_all(self) -> OrderedDict[PendingPut, None]:
        """Remove and return all."""
        waiting, self.waiting = self.waiting, OrderedDict()
        return waiting

    def note_take(self) -> None:
        """Restart the time to a stall: the consumer took something."""
        self._last_take = asyncio.get_running_loop().time()

    def start_timer(self, stall_timeout: float, on_stall: Callable[[], object]) -> None:
        """Call ``on_stall`` once, ``stall_timeout`` seconds after the last take.

        It is not called if nothing waits then. A timer that runs already goes on.
        """
        if self._timer is None and stall_timeout < inf:
            due = self._last_take + stall_timeout
            self._timer = asyncio.get_running_loop().call_at(
                due, self._check, stall_timeout, on_stall
            )

    def _check(self, stall_timeout: float, on_stall: Callable[[], object]) -> None:
        self._timer = None
        if not self.waiting:
            return
        if asyncio.get_running_loop().time() < self._last_take + stall_timeout:
            self.start_timer(stall_timeout, on_stall)  # it took something: a take sets no timer
        else:
            on_stall()

    def stop_timer(self) -> None:
        """Do not call ``on_stall`` any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
