"""``StepLoop``: a task that repeats one step, and that others interrupt only while it waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from edr.delivery import FaultLog

CANCEL_TIMEOUT = 2.0
"""Seconds for a cancelled step to end."""


class StepLoop:
    """Calls ``step`` again and again in a task.

    Args:
        name: the name of the task.
        step: does the next thing, and returns False after the last. A failure that it can repair
            must not leave it.
        on_fault: called with the exception that ended the task.
        log: gets a line if the task cannot be ended.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[bool]],
        on_fault: Callable[[BaseException], None],
        log: FaultLog,
    ) -> None:
        self._name = name
        self._step = step
        self._on_fault = on_fault
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Timeout | None = None
        """The wait of the task that ``interrupt`` ends."""
        self._is_halting = False
        """Whether the task must end before its next step."""

    @property
    def was_started(self) -> bool:
        """Whether ``start`` was called."""
        return self._task is not None

    @property
    def is_running(self) -> bool:
        """Whether there is a task that has not ended."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Start a task. The one before must have ended."""
        self._is_halting = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    def interrupt(self) -> None:
        """End the present ``wait`` of the step, so that the next step sees what has changed."""
        if self._waiting is not None:
            with suppress(RuntimeError):  # it is ending already
                self._waiting.reschedule(asyncio.get_running_loop().time())

    async def wait(self, work: Awaitable[None], deadline: float | None = None) -> None:
        """Await ``work`` in a step, until it ends, or until ``interrupt`` or the deadline.

        Args:
            work: its cancellation must be safe.
            deadline: in the loop's time; ``None`` for no limit.
        """
        try:
            async with asyncio.timeout_at(deadline) as self._waiting:
                await work
        except TimeoutError:
            if not (self._waiting and self._waiting.expired()):
                raise
        finally:
            self._waiting = None

    async def halt(self, grace: float) -> None:
        """End the task: a step that does not ``wait`` has ``grace`` seconds to finish."""
        task = self._task
        if task is None or task.done():
            return
        self._is_halting = True
        self.interrupt()
        if grace:
            await asyncio.wait({task}, timeout=grace)
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=CANCEL_TIMEOUT)
        if pending:
            self._log.log(
                logging.ERROR, "did not end within %g s of its cancellation", CANCEL_TIMEOUT
            )

    async def _run(self) -> None:
        try:
            while not self._is_halting and await self._step():
                pass
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException as exc:  # a SystemExit of a step ends this task, not the program
            self._on_fault(exc)
