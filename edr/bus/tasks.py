"""``Tasks``: the asyncio tasks of a bus, such as account look-ups and emits that wait.

They are plain tasks. Rejected: a task group, whose cancel scope would be held open in the frame of
a caller. That breaks a bus in a test fixture, where set-up and tear-down run in different tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from edr.bus.loop_guard import LoopGuard


class Tasks:
    """The tasks of one bus that have not ended.

    Args:
        guard: has the loop in which they run.
    """

    def __init__(self, guard: LoopGuard) -> None:
        self._guard = guard
        self._tasks: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(list(self._tasks))

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``coroutine`` in a task, which the end of the bus cancels."""
        task: asyncio.Task[Any] = self._guard.running_loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
