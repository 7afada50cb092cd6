"""``Ending``: how a bus comes to rest, and to its end.

A drain lets in what the bus's own callbacks and consumers emit, since events follow from events,
and nothing else; all who drain at once share one. An end that leaves events undone, of the bus, of
its loop or of the program, says so once, with names and counts.

**Tasks.** The bus runs callbacks and look-ups in plain asyncio tasks of its own. Rejected: a task
group, whose cancel scope would be held open in a caller's frame; that breaks a bus in a test
fixture, where set-up and tear-down run in different tasks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from asyncio import FIRST_COMPLETED
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Any, Self

from edr.bus.callbacks import Handles
from edr.bus.inbox import ThreadInbox
from edr.bus.log import RateLimitedLog
from edr.bus.loop_bound import LoopBound, is_loop_running
from edr.bus.queue import BoundedQueue
from edr.bus.quiescence import discard_all, left_in, left_in_slices, until_quiet
from edr.bus.recording import JournalTap
from edr.bus.registry import Registry
from edr.bus.routes import Routes
from edr.bus.runner import CallbackRunner, is_inside, waiting_inside
from edr.errors import BusClosedError

SAID_AFTER = 1.0
"""Seconds after which a drain says for whom it waits."""

DRAIN_PATIENCE = 5.0
"""Seconds for which a drain waits for a subscription that takes nothing, where emitters wait for
ever: a drain must end."""

CANCEL_GRACE = 1.0
"""Seconds that ``aclose`` waits for cancelled tasks; one that swallows its cancellation would
otherwise keep the bus from closing."""

NEXT_TIME = "drain it before: async with, await bus.drain(), or edr.run(main())"


class Ending(LoopBound):
    """What a bus holds, and how that comes to its end."""

    _inbox: ThreadInbox
    """The events of other threads. ``Emission``, which knows what to do with them, sets it."""
    _tap: JournalTap | None = None
    """What gives events to the journal. Set where there is one: a bus without it is as it was."""

    def __init__(self, node: str, stall_after: float, max_body: int, *, debug: bool) -> None:
        super().__init__()
        self.node = node
        self._routes = Routes(node, max_body, debug=debug)
        self._registry = Registry(self._routes, stall_after, self._wake)
        self._patience = stall_after if stall_after < inf else DRAIN_PATIENCE
        self._log = RateLimitedLog()
        self._handles = Handles()
        self._callback_errors = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._drain: asyncio.Task[dict[str, int]] | None = None
        self._drain_is_due = asyncio.Event()
        self._left: Counter[str] = Counter()
        self._undone: dict[str, int] = {}
        # Who took when a drain first asked; those who have come since are looked for.
        self._consumers: weakref.WeakSet[asyncio.Task[Any]] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Bus {self.node!r} {state}, {len(self._registry)} subscription(s)>"

    def _wake(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the loop's thread soon, if there is a loop. From any thread."""
        if self._loop is not None and self._pid == os.getpid():
            with suppress(RuntimeError):  # the loop is closed, so nothing is emitted any more
                self._loop.call_soon_threadsafe(callback)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _entered(self, loop: asyncio.AbstractEventLoop) -> None:
        self._registry.release()
        for runner in self._handles:
            runner.start(loop)

    async def settled(self, timeout: float | None = None) -> dict[str, int]:
        """Wait until all that is queued is handled, and what follows from it; the bus stays open.

        Waits for callbacks as long as they take, and for what others iterate until it takes
        nothing for ``stall_after``. Where events never cease to come, it may never return: give
        it a timeout. Cancellation: safe; it changes nothing.

        Args:
            timeout: seconds to wait at the most.

        Returns:
            What is not handled yet: the names of subscriptions -> events that are queued, or in
            the hands of a callback. Empty if all is done.
        """
        self.enter()
        settling = self._spawn(
            until_quiet(self._inbox, self._registry, self._handles, self._patience)
        )
        with waiting_inside(self):
            try:
                await asyncio.wait({settling}, timeout=timeout)
            finally:
                settling.cancel()
            return left_in(self._registry, self._handles)

    async def drain(self, timeout: float | None = None) -> dict[str, int]:
        """Stop the inflow, wait until all that is queued is handled, and close the bus.

        Callbacks are waited for as long as they take, and what they emit meanwhile is handled
        too; a subscription that somebody iterates, until it takes nothing for ``stall_after``.
        Then iterators end. Who emits or subscribes from elsewhere gets a ``BusClosedError``.

        Any number of tasks may drain at once: it is one drain, which ends for all when the
        shortest of their timeouts does. Callbacks may, too; they are not waited for. Cancellation:
        the drain goes on; ``aclose`` ends it.

        Args:
            timeout: seconds, after which what is left is dropped and counted as ``closed``.

        Returns:
            What is left undone: the names of subscriptions -> events that were still queued, or
            in the hands of a callback. Empty if all was done. It is logged too.
        """
        if self._closed and self._drain is None:
            return {}
        self._check_loop()
        with waiting_inside(self):
            while True:
                drain = self._drain or self._begin_drain()
                await asyncio.wait({drain}, timeout=timeout)
                self._drain_is_due.set()
                await asyncio.wait({drain})
                if not drain.cancelled():
                    return drain.result()
                if self._closed:  # aclose was faster
                    return self._undone

    def _begin_drain(self) -> asyncio.Task[dict[str, int]]:
        self.enter()
        self._thread = 0  # whoever emits is asked who it is
        self._drain_is_due.clear()
        drain: asyncio.Task[dict[str, int]] = self._loop.create_task(self._drained())
        self._drain = drain
        drain.add_done_callback(self._drain_ended)
        return drain

    def _drain_ended(self, drain: asyncio.Task[dict[str, int]]) -> None:
        """Be as before if somebody cancelled it, who cancels all tasks and lives on."""
        if drain.cancelled() and not self._closed:
            self._drain = self._consumers = None
            self._thread = self._home

    async def _drained(self) -> dict[str, int]:
        settling = self._spawn(
            until_quiet(self._inbox, self._registry, self._handles, self._patience)
        )
        due = self._spawn(self._drain_is_due.wait())
        try:
            await asyncio.wait({settling, due}, timeout=SAID_AFTER, return_when=FIRST_COMPLETED)
            if not settling.done() and not due.done():
                waits = left_in(self._registry, self._handles)
                self._registry.losses.undone(waits, f"{self!r} drains")
                await asyncio.wait({settling, due}, return_when=FIRST_COMPLETED)
        finally:
            settling.cancel()
            due.cancel()
        left = await left_in_slices(self._registry, self._handles)
        await self._end("was drained")
        return left

    async def aclose(self) -> None:
        """Stop now: what is queued is dropped and counted, iterators end, callbacks are cancelled.

        Idempotent. From inside a callback it cancels all the others. Cancellation: what is queued
        is dropped all the same, and the callbacks are cancelled, though not waited for.
        """
        if self._pid != os.getpid():
            return  # the tasks and the loop are the parent's
        if self._loop is not None and self._loop.is_closed():
            if not self._closed:
                self._abandon(f"{self!r} was closed")
            return
        self._check_loop()
        await self._end("was closed")

    async def _end(self, why: str) -> None:
        """Close, drop what is queued, cancel what runs, and tell what is left undone."""
        is_first = not self._closed
        self._stop_inflow()
        if is_first:
            left = self._undone = await left_in_slices(self._registry, self._handles)
            self._registry.losses.undone(left, f"{self!r} {why}")
        ending: set[asyncio.Task[Any]] = {
            task for runner in self._handles for task in runner.cancel()
        }
        ending |= self._tasks - {asyncio.current_task()}
        if self._drain is not None and self._drain is not asyncio.current_task():
            ending.add(self._drain)
        for task in ending:
            task.cancel()
        await discard_all(self._registry)
        self._registry.release()
        self._registry.losses.end()
        if ending:
            _, stubborn = await asyncio.wait(ending, timeout=CANCEL_GRACE)
            for task in stubborn:
                self._log.log(
                    logging.WARNING, task.get_name(), "task %r ignores its cancellation", task
                )
        if self._tap is not None:
            await self._tap.journal.aclose()

    def _stop_inflow(self) -> None:
        self._closed = True
        self._thread = 0
        self._unwatch_end()
        self._inbox.close()

    def _loop_ends(self) -> None:
        self._abandon(f"the event loop of {self!r} ended")

    def __del__(self) -> None:
        super().__del__()
        if not getattr(self, "_closed", True) and hasattr(self, "_inbox"):
            self._abandon(f"{self!r} was collected")

    def _abandon(self, why: str) -> None:
        """Tell what nobody will ever handle, and drop it: there is no loop to wait in."""
        left = self._left + Counter(left_in(self._registry, self._handles))
        self._left.clear()
        self._stop_inflow()
        for queue in self._registry.holding():
            if queue.to_take:
                queue.discard()
        if self._loop is not None and not self._loop.is_closed():
            for task in self._tasks:
                task.cancel()
        self._registry.losses.undone(left, f"{why} ({NEXT_TIME})")
        self._registry.losses.end()

    def _tell_left(self) -> None:
        left, self._left = self._left, Counter()
        self._registry.losses.undone(left, f"callbacks of {self!r} were cancelled ({NEXT_TIME})")

    # Who may come in

    def _enter_to_emit(self) -> None:
        self.enter()
        self._check_inflow()

    def _check_inflow(self) -> None:
        """Let in who may emit, subscribe and bind: while it drains, who is a part of that."""
        self._check_open()
        if self._drain is not None and not is_inside(self) and not self._is_consumer():
            raise BusClosedError(f"{self!r} drains, and lets in only what its own callbacks emit")

    def _is_consumer(self) -> bool:
        """Tell whether this task takes from a subscription; then its events follow from those."""
        task = asyncio.current_task() if is_loop_running() else None
        if task is None:
            return False
        if self._consumers is None:
            self._consumers = weakref.WeakSet(_consumers_of([*self._registry]))
        return task in self._consumers or task in _consumers_of(self._registry.holding())

    def _callback_failed(self) -> None:
        self._callback_errors += 1

    def _runner_ended(self, runner: CallbackRunner, undone: int) -> None:
        self._handles.remove(runner)
        if undone:
            self._left[runner.name] += undone
            if not self._loop.is_closed():
                self._loop.call_soon(self._tell_left)  # in one line with those that end with it

    async def __aenter__(self) -> Self:
        self.enter()
        if self._tap is not None:
            await self._tap.journal.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None:
                await self.drain()
        finally:
            await self.aclose()


def _consumers_of(queues: Iterable[BoundedQueue]) -> Iterator[asyncio.Task[Any]]:
    for queue in queues:
        task = None if queue.consumer is None else queue.consumer()
        if task is not None:
            yield task
