"""How a bus comes to rest: nothing is queued, no callback is at work, no thread's event is coming.

Events follow from events, so this looks until there is nothing more to wait for. Two kinds of
waits could never end, and do: a subscription is given up when nothing was taken from it for some
time, and a callback that itself waits for the bus is not waited for.

Visiting a million queues takes longer than the loop may be held, so they are visited in slices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import contextmanager

from edr._util.wakeup import wake
from edr.bus.bounded_queue import BoundedQueue
from edr.bus.callbacks import Handles
from edr.bus.inbox import ThreadInbox
from edr.bus.registry import SLICE, Registry
from edr.bus.runner import CallbackRunner

LOOK = 10 * SLICE
"""Queues that are looked at in one go. A look takes a tenth of what closing one takes."""


async def until_idle(
    inbox: ThreadInbox,
    registry: Registry,
    handles: Handles,
    patience: float,
    exclude: Collection[BoundedQueue] = (),
) -> None:
    """Wait until no event is left to process, or no consumer processes it.

    Args:
        inbox: the events of other threads.
        registry: the queues.
        handles: the callbacks; they are waited for as long as they take.
        patience: seconds for which a subscription may take nothing before it is given up.
        exclude: queues that are not waited for.
    """
    given_up: set[BoundedQueue] = {*exclude}
    while True:
        await inbox.emptied()
        runners = [runner for runner in handles if not runner.is_idle]
        bound = {runner.queue for runner in handles}
        queues = [
            queue
            async for queue in _in_slices(registry.holding(), LOOK)
            if queue.to_take and queue not in bound and queue not in given_up
        ]
        if not runners and not queues and inbox.is_empty:
            return
        given_up |= await _wait(runners, queues, patience)


async def _wait(
    runners: Iterable[CallbackRunner], queues: Iterable[BoundedQueue], patience: float
) -> set[BoundedQueue]:
    """Wait for each, and return the queues from which nothing was taken for too long."""
    async with asyncio.TaskGroup() as group:
        emptied = {queue: group.create_task(queue.emptied(patience)) for queue in queues}
        for runner in runners:
            group.create_task(runner.until_idle())
    return {queue for queue, task in emptied.items() if not task.result()}


class Calls:
    """Counts running calls, so that others can wait until the last one ends."""

    def __init__(self) -> None:
        self._count = 0
        self._waiter: asyncio.Future[None] | None = None

    def __bool__(self) -> bool:
        return self._count > 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the call that runs within this."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            if not self._count and self._waiter is not None:
                wake(self._waiter)
                self._waiter = None

    async def over(self) -> None:
        """Wait until none runs."""
        while self._count:
            self._waiter = self._waiter or asyncio.get_running_loop().create_future()
            await asyncio.wait({self._waiter})


def left_in(registry: Registry, handles: Handles) -> dict[str, int]:
    """Return what is queued, or in the hands of a callback: names -> events."""
    left, queues = _left_with(handles, registry)
    for queue in queues:
        if pending := queue.pending:
            left[queue.name] = pending
    return left


async def left_in_slices(
    registry: Registry, handles: Handles, exclude: Collection[BoundedQueue] = ()
) -> dict[str, int]:
    """Return the same but for the queues ``exclude``, and do not hold the loop for it."""
    left, queues = _left_with(handles, registry)
    async for queue in _in_slices(queues, LOOK):
        if queue not in exclude and (pending := queue.pending):
            left[queue.name] = pending
    return left


def _left_with(handles: Handles, registry: Registry) -> tuple[dict[str, int], list[BoundedQueue]]:
    """Return what callbacks leave, and the queues that are still to be asked."""
    runners = list(handles)
    bound = {runner.queue for runner in runners}
    left = {runner.name: runner.undone for runner in runners if runner.undone > 0}
    queues = registry.holding()
    return left, [queue for queue in queues if queue not in bound] if bound else queues


async def discard_all(registry: Registry, exclude: Collection[BoundedQueue] = ()) -> None:
    """Close every queue, and drop and count what it holds. Complete even if it is cancelled.

    Not the queues ``exclude``.
    """
    queues = iter([queue for queue in (*registry, *registry.holding()) if queue not in exclude])
    try:
        async for queue in _in_slices(queues, SLICE):
            queue.discard()
    finally:
        for queue in queues:
            queue.discard()


async def _in_slices(queues: Iterable[BoundedQueue], size: int) -> AsyncIterator[BoundedQueue]:
    for position, queue in enumerate(queues, 1):
        yield queue
        if not position % size:
            await asyncio.sleep(0)
