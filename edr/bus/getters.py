"""``Getters``: the tasks that take from one queue, and the futures of waiting tasks.

A part of ``BoundedQueue``, made when its consumer first takes. It never calls the queue.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any, TypeAlias

from edr._util.wakeup import wake

Task: TypeAlias = asyncio.Task[Any]


class Getters:
    """The consumers of one queue. Usually this is one task; several may share a subscription."""

    __slots__ = ("_others", "_task", "waiting")

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        """Futures of waiting tasks; the first is woken first."""
        # Weak: a task that failed holds its frames, and they hold the subscription, which would
        # only be collected by the garbage collector.
        self._task: weakref.ref[Task] | None = None
        self._others: list[weakref.ref[Task]] | None = None

    @property
    def task(self) -> Task | None:
        """The task that took, or waited to take, last; or ``None``."""
        return None if self._task is None else self._task()

    def note(self, task: Task | None) -> None:
        """Record that ``task`` takes from now on."""
        if self._task is not None:
            last = self._task()
            if last is task:  # the usual case
                return
            if last is not None and not last.done():
                self._others = [*self._alive_but(task), self._task]
        self._task = None if task is None else weakref.ref(task)

    def is_only(self, task: Task | None) -> bool:
        """Return whether ``task`` takes, and no other task that still runs ever did."""
        if task is None or self.task is not task:
            return False
        self._others = self._alive_but(task) or None
        return not self._others

    def _alive_but(self, task: Task | None) -> list[weakref.ref[Task]]:
        return [ref for ref in self._others or () if _is_alive(ref(), task)]

    def wait(self) -> asyncio.Future[None]:
        """Return a future that is done when an event may be there."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        return waiter

    def remove(self, waiter: asyncio.Future[None]) -> bool:
        """Forget ``waiter``; return False if it was woken already."""
        if waiter not in self.waiting:
            return False
        self.waiting.remove(waiter)
        return True

    def wake_one(self) -> None:
        """Wake the first waiting task."""
        while self.waiting:
            if wake(self.waiting.pop(0)):
                return

    def wake_all(self) -> None:
        """Wake all waiting tasks."""
        while self.waiting:
            wake(self.waiting.pop(0))


def _is_alive(task: Task | None, other: Task | None) -> bool:
    return task is not None and task is not other and not task.done()
