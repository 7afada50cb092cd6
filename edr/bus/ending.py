"""``Ending``: how a bus comes to rest, and to its end.

A drain lets in what the bus's own callbacks and consumers emit, since events follow from events,
and nothing else; all who drain at once share one. What is attached to the bus ends after the
drain: see ``services``. An end that leaves events undone, of the bus, of its loop or of the
program, says so once, with names and counts.

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
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Any, Self

from edr._util.log import RateLimitedLog
from edr.bus.bounded_queue import BoundedQueue
from edr.bus.callbacks import Handles
from edr.bus.inbox import ThreadInbox
from edr.bus.loop_bound import LoopBound, is_loop_running
from edr.bus.options import check_timeout
from edr.bus.quiescence import Calls, discard_all, left_in, left_in_slices, until_quiet
from edr.bus.recording import EventJournal, JournalTap
from edr.bus.registry import Registry
from edr.bus.routes import Routes
from edr.bus.runner import CallbackRunner, is_inside, waiting_inside
from edr.bus.services import DRAIN_GRACE, Service, Services
from edr.bus.shutdown import shutdown_of
from edr.bus.subscription import Subscription, queue_of
from edr.errors import BusClosedError

SAID_AFTER = 1.0
"""Seconds after which a drain says for whom it waits."""

DRAIN_PATIENCE = 5.0
"""Seconds for which a drain waits for a subscription that takes nothing, where emitters wait for
ever: a drain must end."""

CANCEL_GRACE = 1.0
"""Seconds that ``aclose`` waits for cancelled tasks; one that swallows its cancellation would
otherwise keep the bus from closing."""

SEALED = "it drains for longer than its drain_grace"

NEXT_TIME = "drain it before: async with, await bus.drain(), or edr.run(main())"


@dataclass(slots=True)
class End:
    """How far a bus is on its way to its end."""

    drain_grace: float
    is_sealed: bool = False
    """Whether the bus drains and accepts no further event, not even of its callbacks."""
    drain: asyncio.Task[dict[str, int]] | None = None
    drain_is_due: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a timeout of the drain is over."""
    deadline: float = inf
    """When the shortest of these timeouts ends, in the loop's time."""
    settled_calls: Calls = field(default_factory=Calls)
    consumers: weakref.WeakSet[asyncio.Task[Any]] | None = None
    """The tasks that took when a drain first asked; those that came later are looked for."""
    is_entered: bool = False
    """Whether the bus was entered with ``async with``."""
    left: Counter[str] = field(default_factory=Counter)
    """What cancelled callbacks left, until it is logged."""
    undone: dict[str, int] = field(default_factory=dict)
    is_told: bool = False
    """Whether ``undone`` was logged."""


class Ending(LoopBound):
    """What a bus holds, and how that comes to its end."""

    _inbox: ThreadInbox
    """The events of other threads. ``Emission``, which knows what to do with them, sets it."""
    _tap: JournalTap | None = None
    """What gives events to the journal. Set where there is one: a bus without it is as it was."""

    def __init__(
        self, node: str, stall_timeout: float, max_body: int, drain_grace: float, *, debug: bool
    ) -> None:
        super().__init__()
        self.node = node
        self._routes = Routes(node, max_body, debug=debug)
        self._registry = Registry(self._routes, stall_timeout, self._wake, self._left_behind)
        self._patience = stall_timeout if stall_timeout < inf else DRAIN_PATIENCE
        self._log = RateLimitedLog()
        self._handles = Handles()
        self._callback_errors = 0
        self._refused = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._services = Services(self._spawn, self._log)
        self._end = End(drain_grace)

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
        shutdown = shutdown_of(loop)
        if shutdown is not None:
            shutdown.add(self)
        self._registry.release_abandoned()
        for runner in self._handles:
            runner.start(loop)

    # What ends after it

    def drain_follows(self, exc: BaseException | None) -> bool:
        """Return whether a drain of the bus will follow a block that ends with ``exc``.

        It comes after a block that ends cleanly if the bus was entered with ``async with``, or if
        ``edr.run`` runs here; and after a cancellation by a signal that ``edr.run`` handles.
        """
        if exc is None:
            return self._end.is_entered or shutdown_of(self._loop) is not None
        return isinstance(exc, asyncio.CancelledError) and self._is_program_ending()

    def _is_program_ending(self) -> bool:
        shutdown = shutdown_of(self._loop)
        return shutdown is not None and shutdown.is_requested

    def add_service(
        self, service: Service, name: str, outbox: Subscription[Any] | None = None
    ) -> None:
        """Attach ``service`` to the bus, which ends it: after a drain, or at ``aclose``.

        While the bus drains, the service still runs, so that it handles what callbacks emit. Then
        the bus is closed, and calls ``service.drain(timeout)`` with the time that is left, and
        ``service.aclose()``. All of that happens before the journal of the bus is closed.

        Args:
            service: a link, or another component that takes from the bus. One that ends by itself
                calls ``remove_service``.
            name: names it in logs and in what ``drain`` returns.
            outbox: its subscription. The drain of the bus does not wait for it, and leaves it to
                the service.

        Raises:
            BusClosedError, WrongLoopError: the bus cannot be used here.
        """
        self.enter()
        self._check_inflow()
        self._services.add(service, name, None if outbox is None else queue_of(outbox))

    @property
    def services(self) -> tuple[Service, ...]:
        """What ``add_service`` attached to the bus and is attached still, in that order."""
        return tuple(self._services)

    def report_unprocessed(self, count: int) -> None:
        """Count events that a service did not process at its end, for the status of ``edr.run``."""
        self._count_unprocessed(count)

    def remove_service(self, service: Service) -> None:
        """Detach ``service``: the bus does not end it. Idempotent."""
        self._services.remove(service)

    async def settled(self, timeout: float | None = None) -> dict[str, int]:
        """Wait until all that is queued is handled, and what follows from it; the bus stays open.

        Waits for callbacks as long as they take, and for what others iterate until it takes
        nothing for ``stall_timeout``; not for links, which send in their own time. Where events
        never
        cease to come, it may never return: give it a timeout. Cancellation: safe; it changes
        nothing.

        Args:
            timeout: seconds to wait at the most.

        Returns:
            What is not handled yet: the names of subscriptions -> events that are queued, or in
            the hands of a callback. Empty if all is done.
        """
        self.enter()
        check_timeout(timeout)
        outboxes = self._services.outboxes
        settling = self._spawn(
            until_quiet(self._inbox, self._registry, self._handles, self._patience, outboxes)
        )
        with self._end.settled_calls.counted(), waiting_inside(self):
            try:
                await asyncio.wait({settling}, timeout=timeout)
            finally:
                settling.cancel()
            return await left_in_slices(self._registry, self._handles, outboxes)

    async def drain(self, timeout: float | None = None) -> dict[str, int]:
        """Stop the inflow, process the queued events, and close the bus.

        The drain waits for each callback until it has finished. The events that callbacks emit are
        processed too, for ``drain_grace`` seconds. After that the bus refuses, counts and logs
        further events, and processes those that are queued. So a drain ends also when callbacks
        answer each other. A callback that has returned may not emit, nor may the tasks that it
        began. The drain waits for a subscription until that takes nothing for ``stall_timeout``.
        Then iterators end, links send the events that they hold, and the journal stores those that
        it accepted. Any other emit or subscribe raises ``BusClosedError``.

        Any number of tasks may drain at once: it is one drain, which ends for all when the
        shortest of their timeouts does. Callbacks may, too; they are not waited for. Cancellation:
        the drain goes on; ``aclose`` ends it.

        Args:
            timeout: seconds, after which the queued events are dropped and counted as ``closed``.
                Links have the rest of it, and at least one second; ``None`` for no limit but
                theirs.

        Returns:
            The events that were not processed: the names of subscriptions -> events that were
            queued, or that a callback had; the names of links -> events that were not sent. Empty
            if there are none. They are logged too.
        """
        check_timeout(timeout)
        if self._closed and self._end.drain is None:
            return {}
        self._check_loop()
        with waiting_inside(self):
            while True:
                drain = self._end.drain or self._begin_drain()
                if timeout is not None:
                    self._end.deadline = min(self._end.deadline, self._loop.time() + timeout)
                await asyncio.wait({drain}, timeout=timeout)
                self._end.drain_is_due.set()
                await asyncio.wait({drain})
                if not drain.cancelled():
                    return drain.result()
                if self._closed:  # aclose was faster
                    return self._end.undone

    def _begin_drain(self) -> asyncio.Task[dict[str, int]]:
        self.enter()
        self._thread = 0  # whoever emits is asked who it is
        self._end.drain_is_due.clear()
        drain: asyncio.Task[dict[str, int]] = self._loop.create_task(self._drained())
        self._end.drain = drain
        drain.add_done_callback(self._drain_ended)
        return drain

    def _drain_ended(self, drain: asyncio.Task[dict[str, int]]) -> None:
        """Be as before if somebody cancelled it, who cancels all tasks and lives on."""
        if drain.cancelled() and not self._closed:
            self._end.drain = self._end.consumers = None
            self._end.deadline = inf
            self._end.is_sealed = False
            self._thread = self._home

    async def _drained(self) -> dict[str, int]:
        outboxes = self._services.outboxes
        settling = self._spawn(self._until_idle(outboxes))
        due = self._spawn(self._end.drain_is_due.wait())
        sealing = None
        if self._end.drain_grace < inf:
            sealing = self._loop.call_later(self._end.drain_grace, self._seal)
        try:
            await asyncio.wait({settling, due}, timeout=SAID_AFTER, return_when=FIRST_COMPLETED)
            if not settling.done() and not due.done():
                waits = left_in(self._registry, self._handles)
                self._registry.drop_log.unprocessed(waits, f"{self!r} drains")
                await asyncio.wait({settling, due}, return_when=FIRST_COMPLETED)
        finally:
            settling.cancel()
            due.cancel()
            if sealing is not None:
                sealing.cancel()
        outboxes = self._services.outboxes
        left = self._end.undone = await left_in_slices(self._registry, self._handles, outboxes)
        self._stop_inflow()
        try:
            await self._stop_work(outboxes)
            for name, count in (await self._services.drain(self._time_for_services())).items():
                left[name] = left.get(name, 0) + count
        finally:
            await self._finish("was drained", left)
        return left

    async def _until_idle(self, outboxes: Collection[BoundedQueue]) -> None:
        while True:
            await until_quiet(self._inbox, self._registry, self._handles, self._patience, outboxes)
            if not self._end.settled_calls:
                return
            # These end now as well. A callback that awaited one goes on, and is to be waited for.
            await self._end.settled_calls.over()

    def _seal(self) -> None:
        self._end.is_sealed = True
        self._log.log(
            logging.WARNING,
            "sealed",
            "%r has drained for %g s, and accepts no further event; it processes those queued",
            self,
            self._end.drain_grace,
        )

    def _time_for_services(self) -> float | None:
        if self._end.deadline == inf:
            return None
        now: float = self._loop.time()
        return max(DRAIN_GRACE, self._end.deadline - now)

    async def aclose(self) -> None:
        """Stop now: queued events are dropped and counted, iterators end, callbacks are cancelled.

        Then close what is attached to the bus: its links, and after them its journal. Idempotent.
        From inside a callback it cancels all the others. Cancellation: the bus is closed all the
        same, and so is what is attached to it, though not waited for.
        """
        if self._pid != os.getpid():
            return  # the tasks and the loop are the parent's
        if self._loop is not None and self._loop.is_closed():
            if not self._closed:
                self._abandon(f"{self!r} was closed")
            return
        self._check_loop()
        left = self._end.undone
        is_told = self._end.is_told
        self._stop_inflow()
        try:
            if not is_told:
                for name, count in (await left_in_slices(self._registry, self._handles)).items():
                    left.setdefault(name, count)
        finally:
            await self._finish("was closed", left)

    async def _finish(self, why: str, left: Mapping[str, int]) -> None:
        """End what is left. A cancellation cuts short the wait for a step, and skips no step."""
        try:
            self._tell_undone(left, f"{self!r} {why}")
            await self._stop_work()
        finally:
            try:
                await self._services.aclose()
            finally:
                self._registry.drop_log.end()
                if self._tap is not None:
                    await self._close_journal(self._tap.journal)

    async def _close_journal(self, journal: EventJournal) -> None:
        """Close ``journal``. Accepted events that it cannot store then count as not processed."""
        try:
            failed: int = journal.statistics().failed
        finally:
            await journal.aclose()
        self._count_unprocessed(journal.statistics().failed - failed)

    async def _stop_work(self, spared: Collection[BoundedQueue] = ()) -> None:
        """Cancel callbacks and tasks of the bus, and drop what is queued but in ``spared``."""
        ending: set[asyncio.Task[Any]] = {
            task for runner in self._handles for task in runner.cancel()
        }
        ending |= self._tasks
        if self._end.drain is not None:
            ending.add(self._end.drain)
        ending.discard(asyncio.current_task())
        for task in ending:
            task.cancel()
        await discard_all(self._registry, spared)
        self._registry.release_abandoned()
        if ending:
            _, stubborn = await asyncio.wait(ending, timeout=CANCEL_GRACE)
            for task in stubborn:
                self._log.log(
                    logging.WARNING, task.get_name(), "task %r ignores its cancellation", task
                )

    def _tell_undone(self, left: Mapping[str, int], why: str) -> None:
        """Log what was not processed, once, and count it for the program's exit status."""
        if self._end.is_told:
            return
        self._end.is_told = True
        self._registry.drop_log.unprocessed(left, why)
        self._count_unprocessed(sum(left.values()))

    def _left_behind(self, count: int) -> None:
        """Called when a consumer closed its subscription with ``count`` events in it."""
        if self._is_program_ending():
            self._count_unprocessed(count)

    def _count_unprocessed(self, count: int) -> None:
        shutdown = shutdown_of(self._loop)
        if shutdown is not None:
            shutdown.unprocessed += count

    def _stop_inflow(self) -> None:
        self._closed = True
        self._end.is_sealed = False
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
        left = self._end.left + Counter(left_in(self._registry, self._handles))
        self._end.left.clear()
        self._stop_inflow()
        for queue in self._registry.holding():
            if queue.to_take:
                queue.discard()
        if self._loop is not None and not self._loop.is_closed():
            for task in self._tasks:
                task.cancel()
        self._tell_undone(left, f"{why} ({NEXT_TIME})")
        self._registry.drop_log.end()

    def _tell_left(self) -> None:
        left, self._end.left = self._end.left, Counter()
        self._registry.drop_log.unprocessed(
            left, f"callbacks of {self!r} were cancelled ({NEXT_TIME})"
        )
        self._count_unprocessed(left.total())

    # Who may come in

    def _enter_to_emit(self) -> None:
        self.enter()
        self._check_emit()

    def _check_emit(self) -> None:
        """As ``_check_inflow``, and refuse the event if the drain has taken too long."""
        self._check_open()
        if self._end.is_sealed:
            self._count_unprocessed(1)
            self._refuse(SEALED)
            raise BusClosedError(f"{self!r} refused an event: {SEALED}")
        self._check_inflow()

    def _refuse(self, why: str) -> bool:
        self._refused += 1
        self._log.log(logging.WARNING, f"refused {why}", "%r refused an event: %s", self, why)
        return False

    def _check_inflow(self) -> None:
        """Raise unless the caller may emit, subscribe and bind; in a drain, only its parts may."""
        self._check_open()
        if self._end.drain is not None and not is_inside(self) and not self._is_consumer():
            raise BusClosedError(
                f"{self!r} drains, and accepts events only from callbacks that run, and from the "
                "consumers of its subscriptions"
            )

    def _is_consumer(self) -> bool:
        """Tell whether this task takes from a subscription; then its events follow from those."""
        task = asyncio.current_task() if is_loop_running() else None
        if task is None:
            return False
        if self._end.consumers is None:
            self._end.consumers = weakref.WeakSet(_consumers_of([*self._registry]))
        return task in self._end.consumers or task in _consumers_of(self._registry.holding())

    def _callback_failed(self) -> None:
        self._callback_errors += 1

    def _runner_ended(self, runner: CallbackRunner, undone: int) -> None:
        self._handles.remove(runner)
        if undone:
            self._end.left[runner.name] += undone
            if not self._loop.is_closed():
                self._loop.call_soon(self._tell_left)  # in one line with those that end with it

    async def __aenter__(self) -> Self:
        self.enter()
        self._end.is_entered = True
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
            await self._drain_at_exit(exc)
        finally:
            await self.aclose()

    async def _drain_at_exit(self, exc: BaseException | None) -> None:
        """Drain, unless the block failed. A cancellation that a signal caused is no failure."""
        if exc is None:
            try:
                await self.drain(self._time_to_exit())
            except asyncio.CancelledError:
                if self._is_program_ending():
                    await self.drain(self._time_to_exit())
                raise
        elif self.drain_follows(exc):
            await self.drain(self._time_to_exit())

    def _time_to_exit(self) -> float | None:
        shutdown = shutdown_of(self._loop)
        return None if shutdown is None or not shutdown.is_requested else shutdown.remaining()


def _consumers_of(queues: Iterable[BoundedQueue]) -> Iterator[asyncio.Task[Any]]:
    for queue in queues:
        task = queue.consumer
        if task is not None:
            yield task
