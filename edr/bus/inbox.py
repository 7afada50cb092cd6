"""``ThreadInbox``: how the events of other threads come into the loop of a bus, in their order.

One task takes them out one by one, so that an account look-up, or a loop that runs its ready
callbacks in another order, cannot let a thread's later event overtake an earlier one. It does not
wait for full queues: a ticket keeps the event's place, and a further task waits for that.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeAlias

from edr.bus.backpressure import settle
from edr.bus.queue import Ticket
from edr.bus.template import Draft
from edr.errors import BusClosedError

MAX_ON_THE_WAY = 1024
"""Events of other threads that may be unsettled at a time; then ``emit_threadsafe`` waits. As many
as a queue holds by default."""

POLL = 0.1
"""Seconds between two looks at whether the loop still lives, for a thread that waits. A loop that
was stopped cannot wake it."""


Offer: TypeAlias = Callable[[Draft], Awaitable[tuple[int, list[Ticket]]]]
"""Puts a draft; returns how many queues admitted it, and the tickets to settle."""


class ThreadInbox:
    """Drafts of other threads, on their way into the loop."""

    def __init__(
        self, offer: Offer, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    ) -> None:
        self._offer = offer
        self._spawn = spawn
        self._drafts: deque[tuple[Draft, Future[int]]] = deque()
        self._slots = threading.BoundedSemaphore(MAX_ON_THE_WAY)
        self._pump: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[None]] = set()
        self._closed = False

    def put(self, draft: Draft, loop: asyncio.AbstractEventLoop, *, wait: bool) -> Future[int]:
        """Hand ``draft`` over and wake the loop; from any thread.

        Raises:
            BusClosedError: the bus was closed, before this or while it waited for a slot.
        """
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        if wait:
            while not self._slots.acquire(timeout=POLL):
                self._check_open(loop)
            future.add_done_callback(lambda _: self._slots.release())
        self._drafts.append((draft, future))
        try:
            self._check_open(loop)
            loop.call_soon_threadsafe(self.start)
        except (RuntimeError, BusClosedError) as exc:
            closed = _closed()
            if not future.done():
                future.set_exception(closed)
            raise closed from exc
        return future

    def _check_open(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closed or loop.is_closed():
            raise _closed()

    def start(self) -> None:
        """Begin to take drafts out, if there are any; on the loop's thread."""
        if self._pump is None and self._drafts:
            self._pump = self._spawn(self._run())

    async def emptied(self) -> None:
        """Wait until every draft was put and settled."""
        while self._drafts or self._pump is not None or self._settling:
            self.start()
            await asyncio.wait({task for task in (self._pump, *self._settling) if task})

    def close(self) -> None:
        """Refuse what is not put yet."""
        self._closed = True
        while self._drafts:
            _, future = self._drafts.popleft()
            if not future.done():
                future.set_exception(_closed())

    async def _run(self) -> None:
        try:
            while self._drafts:
                draft, future = self._drafts.popleft()
                try:
                    admitted, tickets = await self._offer(draft)
                except Exception as exc:  # the emitting thread's to know
                    future.set_exception(exc)
                except asyncio.CancelledError:
                    future.set_exception(_closed())
                    raise
                else:
                    if tickets:
                        self._settle_later(admitted, tickets, future)
                    else:
                        future.set_result(admitted)
        finally:
            self._pump = None

    def _settle_later(self, admitted: int, tickets: list[Ticket], future: Future[int]) -> None:
        async def wait() -> None:
            future.set_result(admitted + await settle(tickets))

        def done(task: asyncio.Task[None]) -> None:
            self._settling.discard(task)
            if not future.done():  # cancelled by aclose, perhaps before it ran at all
                future.set_exception(_closed())

        task = self._spawn(wait())
        self._settling.add(task)
        task.add_done_callback(done)


def _closed() -> BusClosedError:
    return BusClosedError("the bus was closed; the event of this thread reached nobody")
