"""``InputReader``: reads from a pipe, a terminal, a file or a socket, and can be stopped.

A stream of asyncio reads ahead into a buffer. A source must not: it answers for the bytes that it
has read, and leaves the others to the kernel, so that the writer waits.
"""

from __future__ import annotations

import asyncio
import os
import stat

from edr._util.wakeup import wake


class InputReader:
    """Reads from a file descriptor, which stays open. One task reads at a time.

    Args:
        descriptor: of a pipe, a terminal, a file or a socket, in blocking mode or not.
    """

    def __init__(self, descriptor: int) -> None:
        self.is_stopped: bool = False
        self._descriptor = descriptor
        self._can_wait = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._waiter: asyncio.Future[None] | None = None

    async def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``; none at the end, and after ``stop``.

        Cancellation: safe, except that bytes of a regular file may be lost.

        Raises:
            OSError: it cannot be read.
        """
        while not self.is_stopped:
            if not self._can_wait:  # a regular file, which does not make its reader wait
                return await asyncio.to_thread(os.read, self._descriptor, size)
            await self._readable()
            if self.is_stopped:
                break
            try:
                return os.read(self._descriptor, size)
            except BlockingIOError:
                continue
        return b""

    def stop(self) -> None:
        """End the reading: a call that waits returns nothing."""
        self.is_stopped = True
        if self._waiter is not None:
            wake(self._waiter)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        try:
            loop.add_reader(self._descriptor, wake, self._waiter)
        except PermissionError:  # a device such as /dev/null, for which the kernel has no events
            self._can_wait = False
            return
        try:
            await self._waiter
        finally:
            loop.remove_reader(self._descriptor)
            self._waiter = None
