"""``Lifecycle``: how a bus waits until it is idle, and how it ends: open, draining, closed.

A drain accepts what the bus's own callbacks and consumers emit, since events follow from events,
and nothing else (see ``admission``). All tasks that drain at once share one drain. Services that
are attached to the bus end after the drain (see ``services``). Where the end of the bus, of its
loop or of the program leaves events unprocessed, one log line gives names and counts.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from math import inf

from edr._util.log import RateLimitedLog
from edr.bus.admission import Admission
from edr.bus.bounded_queue import BoundedQueue
from edr.bus.callbacks import Handles
from edr.bus.idle import Calls, discard_all, left_in, left_in_slices, until_idle
from edr.bus.inbox import ThreadInbox
from edr.bus.journal_tap import EventJournal, JournalTap
from edr.bus.loop_guard import LoopGuard
from edr.bus.options import check_timeout
from edr.bus.registry import Registry
from edr.bus.runner import CallbackRunner, waiting_inside
from edr.bus.services import DRAIN_GRACE, Services
from edr.bus.shutdown import count_unprocessed, is_program_ending, shutdown_of
from edr.bus.tasks import Tasks

LOG_AFTER = 1.0
"""Seconds after which a drain logs what it waits for."""

DRAIN_PATIENCE = 5.0
"""Seconds for which a drain waits for a subscription that takes nothing, where ``stall_timeout``
is infinite: a drain must end."""

CANCEL_GRACE = 1.0
"""Seconds that ``aclose`` waits for cancelled tasks; one that swallows its cancellation would
otherwise keep the bus from closing."""

_NEXT_TIME = "drain it before: async with, await bus.drain(), or edr.run(main())"


class Lifecycle:
    """Waits until one bus is idle, and ends it.

    Args:
        guard: is closed with the bus.
        admission: decides who may emit during a drain.
        tasks: the tasks of the bus, which its end cancels.
        registry: the queues that are processed or dropped.
        handles: the callbacks.
        inbox: the events of other threads.
        services: what ends after the bus.
        tap: gives events to the journal, if there is one.
        log: where stubborn tasks are logged.
        drain_grace: seconds after which a drain accepts no further event.
        describe: returns the text that names the bus in log lines.
    """

    def __init__(
        self,
        *,
        guard: LoopGuard,
        admission: Admission,
        tasks: Tasks,
        registry: Registry,
        handles: Handles,
        inbox: ThreadInbox,
        services: Services,
        tap: JournalTap | None,
        log: RateLimitedLog,
        drain_grace: float,
        describe: Callable[[], str],
    ) -> None:
        self.is_entered: bool = False
        """Whether the bus was entered with ``async with``."""
        self._guard = guard
        self._admission = admission
        self._tasks = tasks
        self._registry = registry
        self._handles = handles
        self._inbox = inbox
        self._services = services
        self._tap = tap
        self._log = log
        self._drain_grace = drain_grace
        self._describe = describe
        stall_timeout = registry.stall_timeout
        self._patience = stall_timeout if stall_timeout < inf else DRAIN_PATIENCE
        self._drain: asyncio.Task[dict[str, int]] | None = None
        self._drain_is_due = asyncio.Event()  # set when a timeout of the drain is over
        self._deadline = inf  # when the shortest of these timeouts ends, in the loop's time
        self._joins = Calls()
        self._over = asyncio.Event()  # set when an end has finished, or the loop has ended
        self._is_abandoned = False
        self._interrupted: Counter[str] = Counter()  # of cancelled callbacks, until it is logged
        self._unprocessed: dict[str, int] = {}
        self._is_reported = False

    # Begin

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the callbacks: ``loop`` uses the bus from now on."""
        shutdown = shutdown_of(loop)
        if shutdown is not None:
            shutdown.add(self)
        self._registry.release_abandoned()
        for runner in self._handles:
            runner.start(loop)

    async def open(self) -> None:
        """Open the journal, if there is one; the bus was entered with ``async with``."""
        self.is_entered = True
        if self._tap is not None:
            await self._tap.journal.open()

    # Wait and drain

    async def join(self, timeout: float | None) -> dict[str, int]:
        """Wait until every queued event is processed; see ``Bus.join``."""
        self._guard.enter()
        check_timeout(timeout)
        outboxes = self._services.outboxes
        waiting = self._tasks.spawn(
            until_idle(self._inbox, self._registry, self._handles, self._patience, outboxes)
        )
        with self._joins.counted(), waiting_inside(self._guard):
            try:
                await asyncio.wait({waiting}, timeout=timeout)
            finally:
                waiting.cancel()
            return await left_in_slices(self._registry, self._handles, outboxes)

    async def drain(self, timeout: float | None) -> dict[str, int]:
        """Stop the inflow, process the queued events, and close the bus; see ``Bus.drain``."""
        check_timeout(timeout)
        if self._guard.closed and self._drain is None:
            return {}
        self._guard.check_loop()
        with waiting_inside(self._guard):
            while True:
                drain = self._drain or self._begin_drain()
                if timeout is not None:
                    now = self._guard.running_loop.time()
                    self._deadline = min(self._deadline, now + timeout)
                await asyncio.wait({drain}, timeout=timeout)
                self._drain_is_due.set()
                await asyncio.wait({drain})
                if not drain.cancelled():
                    return drain.result()
                if self._guard.closed:  # aclose was faster
                    return self._unprocessed

    def _begin_drain(self) -> asyncio.Task[dict[str, int]]:
        loop = self._guard.enter()
        self._admission.begin_drain()
        self._drain_is_due.clear()
        # Not a task of the bus, all of which the drain cancels.
        drain = self._drain = loop.create_task(self._run_drain())
        drain.add_done_callback(self._drain_ended)
        return drain

    def _drain_ended(self, drain: asyncio.Task[dict[str, int]]) -> None:
        """Open the bus again if the program cancelled all tasks, the drain too, and goes on."""
        if drain.cancelled() and not self._guard.closed:
            self._drain = None
            self._deadline = inf
            self._admission.reopen()

    async def _run_drain(self) -> dict[str, int]:
        await self._process_queued()
        outboxes = self._services.outboxes
        left = self._unprocessed = await left_in_slices(self._registry, self._handles, outboxes)
        self._stop_inflow()
        try:
            await self._stop_work(outboxes)
            for name, count in (await self._services.drain(self._time_for_services())).items():
                left[name] = left.get(name, 0) + count
        finally:
            await self._finish("was drained", left, drains=True)
        return left

    async def _process_queued(self) -> None:
        """Wait until the bus is idle, or a timeout of the drain is over."""
        loop = self._guard.running_loop
        idle = self._tasks.spawn(self._until_idle(self._services.outboxes))
        due = self._tasks.spawn(self._drain_is_due.wait())
        sealing = None
        if self._drain_grace < inf:
            sealing = loop.call_later(self._drain_grace, self._seal)
        try:
            await asyncio.wait({idle, due}, timeout=LOG_AFTER, return_when=FIRST_COMPLETED)
            if not idle.done() and not due.done():
                waits = left_in(self._registry, self._handles)
                self._registry.drop_log.unprocessed(waits, f"{self._describe()} drains")
                await asyncio.wait({idle, due}, return_when=FIRST_COMPLETED)
        finally:
            idle.cancel()
            due.cancel()
            if sealing is not None:
                sealing.cancel()

    async def _until_idle(self, outboxes: Collection[BoundedQueue]) -> None:
        while True:
            await until_idle(self._inbox, self._registry, self._handles, self._patience, outboxes)
            if not self._joins:
                return
            # The calls of ``join`` end now as well. A callback that awaited one goes on, and the
            # drain must wait for it.
            await self._joins.over()

    def _seal(self) -> None:
        self._admission.seal()
        self._log.log(
            logging.WARNING,
            "sealed",
            "%s has drained for %g s, and accepts no further event; it processes those queued",
            self._describe(),
            self._drain_grace,
        )

    def _time_for_services(self) -> float | None:
        if self._deadline == inf:
            return None
        return max(DRAIN_GRACE, self._deadline - self._guard.running_loop.time())

    # The end of a block

    def drain_follows(self, exc: BaseException | None) -> bool:
        """Return whether a drain of the bus will follow a block that ends with ``exc``.

        It comes after a block that ends cleanly if the bus was entered with ``async with``, or if
        ``edr.run`` runs here; and after a cancellation by a signal that ``edr.run`` handles.
        """
        loop = self._guard.loop
        if exc is None:
            return self.is_entered or shutdown_of(loop) is not None
        return isinstance(exc, asyncio.CancelledError) and is_program_ending(loop)

    async def leave(self, exc: BaseException | None) -> None:
        """Drain after a block that did not fail, and close.

        A cancellation that a signal caused is not a failure.
        """
        try:
            if exc is None:
                try:
                    await self.drain(self._time_to_exit())
                except asyncio.CancelledError:
                    if is_program_ending(self._guard.loop):
                        await self.drain(self._time_to_exit())
                    raise
            elif self.drain_follows(exc):
                await self.drain(self._time_to_exit())
        finally:
            await self.aclose()

    def _time_to_exit(self) -> float | None:
        shutdown = shutdown_of(self._guard.loop)
        return None if shutdown is None or not shutdown.is_requested else shutdown.remaining()

    # Close

    async def aclose(self) -> None:
        """Stop now; see ``Bus.aclose``."""
        if self._guard.is_inherited:
            return  # the tasks and the loop are the parent's
        loop = self._guard.loop
        if loop is not None and loop.is_closed():
            if not self._guard.closed:
                self._abandon("was closed")
            return
        self._guard.check_loop()
        left = self._unprocessed
        is_reported = self._is_reported
        self._stop_inflow()
        try:
            if not is_reported:
                for name, count in (await left_in_slices(self._registry, self._handles)).items():
                    left.setdefault(name, count)
        finally:
            await self._finish("was closed", left)

    async def wait_closed(self) -> None:
        """Wait until the bus has closed; see ``Bus.wait_closed``."""
        guard = self._guard
        loop = guard.loop
        if guard.is_inherited or (loop is not None and loop.is_closed()):
            return
        if guard.closed:
            guard.check_loop()
        else:
            guard.enter()
        with waiting_inside(guard):
            await self._over.wait()
            if self._is_abandoned:
                return
            # A cancelled end did not wait for these two, which go on closing.
            await self._services.closed()
            if self._tap is not None:
                with suppress(Exception):  # raised in the call that closed the bus
                    await self._tap.journal.aclose()

    async def _finish(self, why: str, left: Mapping[str, int], *, drains: bool = False) -> None:
        """End what is left. A cancellation cuts short the wait for a step, and skips no step."""
        try:
            self._report(left, f"{self._describe()} {why}")
            await self._stop_work()
        finally:
            try:
                await self._services.aclose()
            finally:
                self._registry.drop_log.end()
                try:
                    if self._tap is not None:
                        await self._close_journal(self._tap.journal, drains=drains)
                finally:
                    self._over.set()

    async def _close_journal(self, journal: EventJournal, *, drains: bool) -> None:
        """Close ``journal``. Accepted events that it cannot store then count as not processed."""
        try:
            failed: int = journal.statistics().failed
            if drains:
                await journal.drain(self._time_for_services())
        finally:
            await journal.aclose()
        self.report_unprocessed(journal.statistics().failed - failed)

    async def _stop_work(self, spared: Collection[BoundedQueue] = ()) -> None:
        """Cancel callbacks and tasks of the bus, and drop what is queued, except in ``spared``."""
        ending: set[asyncio.Task[object]] = {
            task for runner in self._handles for task in runner.cancel()
        }
        ending.update(self._tasks)
        if self._drain is not None:
            ending.add(self._drain)
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

    def _stop_inflow(self) -> None:
        self._guard.close()
        self._inbox.close()

    # An end without a drain

    def loop_ended(self) -> None:
        """Drop and log what is queued: the event loop ended before the bus was closed."""
        self._abandon("ended", "the event loop of ")

    def collected(self) -> None:
        """Drop and log what is queued: the bus is not referenced any more."""
        if not self._guard.closed:
            self._abandon("was collected")

    def _abandon(self, why: str, subject: str = "") -> None:
        """Drop and log what is queued. It cannot be waited for, as no loop runs."""
        left = self._interrupted + Counter(left_in(self._registry, self._handles))
        self._interrupted.clear()
        self._stop_inflow()
        for queue in self._registry.holding():
            if queue.to_take:
                queue.discard()
        loop = self._guard.loop
        if loop is not None and not loop.is_closed():
            for task in self._tasks:
                task.cancel()
        self._report(left, f"{subject}{self._describe()} {why} ({_NEXT_TIME})")
        self._registry.drop_log.end()
        self._is_abandoned = True
        with suppress(RuntimeError):  # the loop is closed, so no call waits
            self._over.set()

    # Unprocessed events

    def runner_ended(self, runner: CallbackRunner, undone: int) -> None:
        """Called when the tasks of a callback ended with ``undone`` events not processed."""
        self._handles.remove(runner)
        if undone:
            loop = self._guard.running_loop
            self._interrupted[runner.name] += undone
            if not loop.is_closed():
                loop.call_soon(self._report_interrupted)  # one line for all that end together

    def _report_interrupted(self) -> None:
        left, self._interrupted = self._interrupted, Counter()
        why = f"callbacks of {self._describe()} were cancelled ({_NEXT_TIME})"
        self._registry.drop_log.unprocessed(left, why)
        self.report_unprocessed(left.total())

    def _report(self, left: Mapping[str, int], why: str) -> None:
        """Log what was not processed, once, and count it for the program's exit status."""
        if self._is_reported:
            return
        self._is_reported = True
        self._registry.drop_log.unprocessed(left, why)
        self.report_unprocessed(sum(left.values()))

    def report_unprocessed(self, count: int) -> None:
        """Count events that were not processed, for the exit status of ``edr.run``."""
        count_unprocessed(self._guard.loop, count)
