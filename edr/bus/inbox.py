"""``ThreadInbox``: brings the events of other threads into the loop of a bus, in order.

One task, the pump, takes them one by one. So neither an account look-up nor a loop that reorders
its ready callbacks lets a later event of a thread overtake an earlier one. The pump does not wait
for full queues: a pending put keeps the place of the event, and another task waits for it.

The pump may be cancelled at any time, even before its first step: at the end of ``asyncio.run``, or
by a program that cancels all other tasks. It is started again while there are events and the inbox
is open; otherwise a thread would wait for its event without end.

A signal handler or a ``__del__`` may interrupt ``put`` and put an event itself. So ``put`` takes no
lock that its own thread could hold: slots are tokens in a ``SimpleQueue``, which is reentrant.

The pump, the end of the bus and a thread that finds it closed may all try to settle one future. The
one that removes it from the set of open futures settles it. Rejected: checking ``done()`` first,
because another thread may settle the future in between.
"""

from __future__ import annotations

import asyncio
import logging
import queue
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from edr._util.log import log_safely
from edr._util.wakeup import wake
from edr.bus.backpressure import wait_for_space
from edr.bus.event_factory import PendingEvent
from edr.bus.putters import PendingPut
from edr.errors import BusClosedError, WrongLoopError
from edr.records import Event

T = TypeVar("T")

MAX_ON_THE_WAY = 1024
"""Limit of unsettled events of other threads; then threads wait. Equals the default capacity."""

POLL = 0.1
"""Seconds between two checks of a waiting thread whether the loop still runs. A stopped loop cannot
wake the thread."""

PATIENCE = 5.0
"""Seconds for which a thread waits for a stopped loop, which may run again."""


Offer: TypeAlias = Callable[[PendingEvent | Event], Awaitable[tuple[int, list[PendingPut]]]]
"""Puts a pending or an existing event.

Returns how many queues admitted it, and the puts to settle."""


class ThreadInbox:
    """Drafts of other threads, on their way into the loop.

    Args:
        offer: puts an event.
        prepare: begins what ``offer`` will wait for.
        spawn: makes a task of the bus.
    """

    def __init__(
        self,
        offer: Offer,
        prepare: Callable[[PendingEvent | Event], object],
        spawn: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
    ) -> None:
        self._offer = offer
        self._prepare = prepare
        self._spawn = spawn
        self._pending: deque[tuple[PendingEvent | Event, Future[int]]] = deque()
        self._slots: queue.SimpleQueue[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Task[None]] = set()
        # The futures of all unsettled events, including the one that the pump handles. The code
        # that removes a future settles it. The futures are running, so callers cannot cancel them.
        self._open: set[Future[int]] = set()
        self._emits = 0
        self._arrival: asyncio.Future[None] | None = None
        self._closed = False

    def put(
        self, event: PendingEvent | Event, loop: asyncio.AbstractEventLoop, *, wait: bool
    ) -> Future[int]:
        """Hand ``event`` over and wake the loop; from any thread.

        Args:
            event: the event.
            loop: the loop of the bus.
            wait: whether to wait for a slot; not in the loop's own thread.

        Raises:
            BusClosedError: the bus was closed, before this or while it waited for a slot.
            WrongLoopError: it waited for a slot, and the loop did not run.
        """
        self._check_open(loop)
        slots = self._wait_for_slot(loop) if wait else None
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        if slots is not None:
            future.add_done_callback(lambda _: slots.put(None))
        self._open.add(future)
        self._pending.append((event, future))
        try:
            loop.call_soon_threadsafe(self.start)
        except RuntimeError as exc:  # closed at this very moment
            self.close()
            raise _closed() from exc
        if self._closed:
            self.close()
        return future

    def put_nowait(self, event: PendingEvent | Event, loop: asyncio.AbstractEventLoop) -> bool:
        """Hand ``event`` over unless the inbox is full or the loop is closed."""
        if len(self._pending) + len(self._settling) >= MAX_ON_THE_WAY:
            return False
        try:
            self.put(event, loop, wait=False)
        except BusClosedError:
            return False
        return True

    def _wait_for_slot(self, loop: asyncio.AbstractEventLoop) -> queue.SimpleQueue[None]:
        if self._slots is None:
            slots: queue.SimpleQueue[None] = queue.SimpleQueue()
            for _ in range(MAX_ON_THE_WAY):
                slots.put(None)
            self._slots = (
                slots  # two threads at once make two queues: a few more slots, but no lock
            )
        slots = self._slots
        stopped_for = 0.0
        while True:
            try:
                slots.get(timeout=POLL)
            except queue.Empty:
                self._check_open(loop)
                stopped_for = 0.0 if loop.is_running() else stopped_for + POLL
                if stopped_for >= PATIENCE:
                    raise WrongLoopError(
                        f"the loop of this bus has not run for {PATIENCE:g} s, and "
                        f"{MAX_ON_THE_WAY} events of threads wait for it; this one reached nobody"
                    ) from None
            else:
                return slots

    def _check_open(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closed or loop.is_closed():
            raise _closed()

    def start(self) -> None:
        """Begin to take events out, if there are any; on the loop's thread."""
        if self._has_pending and (self._pump is None or self._pump.done()):
            self._pump = self._spawn(self._run())
            self._pump.add_done_callback(lambda _: self.start())

    async def emptied(self) -> None:
        """Wait until every event was put and settled."""
        while not self.is_empty:
            self.start()
            tasks: set[asyncio.Future[None]] = {
                task for task in (self._pump, *self._settling) if task
            }
            if self._emits:
                self._arrival = self._arrival or asyncio.get_running_loop().create_future()
                tasks.add(self._arrival)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)  # their callbacks run after them

    @contextmanager
    def emit_on_the_way(self) -> Iterator[None]:
        """Count an emit of this loop that waits before it can put its event."""
        self._emits += 1
        try:
            yield
        finally:
            self._emits -= 1
            if not self._emits and self._arrival is not None:
                wake(self._arrival)
                self._arrival = None

    @property
    def is_empty(self) -> bool:
        """Whether every event was put and settled, and no emit is on its way."""
        is_pumping = self._pump is not None and not self._pump.done()
        return not (self._has_pending or self._settling or self._emits or is_pumping)

    @property
    def _has_pending(self) -> bool:
        """Whether there is an event to put, and the inbox is open."""
        return bool(self._pending) and not self._closed

    def close(self) -> None:
        """Refuse what is not put yet. From any thread, and from several at once."""
        self._closed = True
        self._pending.clear()
        while True:
            try:
                future = self._open.pop()
            except KeyError:
                return
            _settle(future.set_exception, _closed())

    def _take_out(self, future: Future[int]) -> bool:
        """Remove ``future`` from the unsettled ones; return whether the caller must settle it."""
        try:
            self._open.remove(future)
        except KeyError:
            return False
        return True

    def _succeed(self, future: Future[int], admitted: int) -> None:
        if self._take_out(future):
            _settle(future.set_result, admitted)

    def _fail(self, future: Future[int], exc: BaseException) -> None:
        if self._take_out(future):
            _settle(future.set_exception, exc)

    async def _run(self) -> None:
        for event, _ in list(self._pending):
            self._prepare(event)
        while self._has_pending:
            try:
                event, future = self._pending.popleft()
            except IndexError:  # a thread has closed it at this very moment
                return
            try:
                admitted, puts = await self._offer(event)
            except Exception as exc:  # the emitting thread's to know
                self._fail(future, exc)
            except asyncio.CancelledError:
                self._fail(future, _closed())
                raise
            except BaseException as exc:
                self._fail(future, exc)
                raise
            else:
                if puts:
                    self._settle_later(admitted, puts, future)
                else:
                    self._succeed(future, admitted)

    def _settle_later(self, admitted: int, puts: list[PendingPut], future: Future[int]) -> None:
        async def wait() -> None:
            self._succeed(future, admitted + await wait_for_space(puts))

        def done(task: asyncio.Task[None]) -> None:
            self._settling.discard(task)
            self._fail(future, _closed())  # cancelled, perhaps before it ran at all

        task = self._spawn(wait())
        self._settling.add(task)
        task.add_done_callback(done)


def _settle(settle: Callable[[T], None], outcome: T) -> None:
    """Settle a future. It calls what the program has added to it, which may raise anything."""
    try:
        settle(outcome)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        log_safely(logging.ERROR, "a callback of emit_threadsafe's future failed", exc=exc)


def _closed() -> BusClosedError:
    return BusClosedError("the bus was closed; the event of this thread reached nobody")
