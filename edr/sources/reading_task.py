"""``ReadingTask``: the task of a source that reads one input."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from edr.sources.source import Counts


class ReadingTask:
    """Runs the reading of one source, and sets the state of its counts.

    Args:
        name: the name of the source.
        counts: get the states ``running``, ``stopping`` and ``stopped``.
    """

    def __init__(self, name: str, counts: Counts) -> None:
        self._name = name
        self._counts = counts
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in a task. Called once."""
        self._counts.state = "running"
        self._counts.connections = 1
        self._task = asyncio.create_task(work, name=f"edr source {self._name}")

    async def wait_ended(self) -> None:
        """Wait until the task has ended, if it was started. Cancellation: the task continues."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self, interrupt: Callable[[], None]) -> None:
        """Call ``interrupt``, which makes the task end, and wait for that. Idempotent."""
        if self._task is not None and not self._task.done():
            self._counts.state = "stopping"
            interrupt()
            await self.wait_ended()
        self._counts.state = "stopped"

    async def aclose(self) -> None:
        """Cancel the task, and wait until it has ended. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await self.wait_ended()
        self._counts.state = "stopped"
