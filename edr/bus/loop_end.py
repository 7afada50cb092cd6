"""``LoopEnd``: calls a method when an event loop ends.

``asyncio.run`` cancels all tasks, shuts down the async generators of the loop and closes it. An
async generator that waits for nothing else receives this shutdown while the loop can still run
something. That is the only sign that a loop gives. For a loop that was closed without it, the
method is called when the program exits. Rejected: a weak reference to the loop (a closed loop may
live on).
"""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress


class LoopEnd:
    """Calls a method once: when the running loop ends, or at the exit of the program.

    Args:
        ended: the method. Its object is referred to weakly.
    """

    def __init__(self, ended: Callable[[], object]) -> None:
        self._ended = weakref.WeakMethod(ended, lambda _: self.cancel())
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._generator: AsyncGenerator[None] | None = _until_shutdown(self)
        _all.add(self)
        with suppress(StopIteration):
            self._generator.asend(None).send(None)  # to its yield; the loop registers it

    def cancel(self) -> None:
        """Do not call the method. Idempotent."""
        _all.discard(self)
        generator, self._generator = self._generator, None
        if generator is not None:
            with suppress(StopIteration):
                generator.aclose().send(None)

    def shut_down(self) -> None:
        """Call the method, unless it was cancelled. The generator is at its end."""
        if self._generator is not None:
            self._generator = None
            self._call()

    def exits(self) -> None:
        """Call the method if its loop does not run any more. The program exits."""
        if self._generator is not None and not self._loop.is_running():
            self.cancel()
            self._call()

    def _call(self) -> None:
        _all.discard(self)
        ended = self._ended()
        if ended is not None and self._pid == os.getpid():
            ended()


async def _until_shutdown(end: LoopEnd) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        end.shut_down()


# Referred to here too: the garbage collector would end a generator in its own way, by a task.
_all: set[LoopEnd] = set()


@atexit.register
def _at_exit() -> None:
    for each in list(_all):
        each.exits()
