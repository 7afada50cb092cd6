"""``before_exit``: call a function at SIGINT or SIGTERM, before the server handles the signal.

Example::

    import asyncio
    import os
    import signal

    from edr.adapters.before_exit import before_exit

    async def main():
        stopped, exited = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, exited.set)  # of the server
        with before_exit(stopped.set):
            os.kill(os.getpid(), signal.SIGTERM)
            await stopped.wait()
            await exited.wait()

    asyncio.run(main())

The problem: at SIGTERM a server such as uvicorn waits until the open responses have ended, and only
then ends the lifespan of the application. An event stream never ends by itself, so the server waits
until it is killed, and the lifespan cannot drain the bus. The streams must end first, and the
signal is the only notice that an application gets. (uvicorn 0.43 sent ``http.disconnect`` at that
time; a later version does not.)

So the handler of the signal is replaced by one that schedules the callback in the loop, and then
calls the handler that was there before. Rejected: ``loop.add_signal_handler``, which cannot call
the previous handler.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self, final

from edr._util.log import log_safely

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a program to end in order."""


def before_exit(callback: Callable[[], object]) -> BeforeExit:
    """Call ``callback`` at the first SIGINT or SIGTERM, before the present handler of the signal.

    Call this while the application starts, in its loop; it takes effect at once. ``with
    before_exit(…):`` or ``close()`` restores the handlers.

    The callback, plain or async, runs in the loop, not in the signal handler. It is called once;
    its exceptions are logged. Each signal is passed on to the previous handler, also the second
    one. A signal without a handler of Python, such as one that ends the process at once, is left
    as it is. In a thread other than the main one this does nothing, since such a thread has no
    signals: an application in a test client ends without a signal.

    Raises:
        RuntimeError: no event loop is running.
    """
    return BeforeExit(callback)


@final
class BeforeExit:
    """The changed signal handlers of one ``before_exit``, which makes it."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        # A handler is called in the context of any task: that of a request, for example.
        self._context = contextvars.copy_context()
        self._is_due = True
        self._task: asyncio.Task[None] | None = None
        self._previous: dict[int, Callable[[int, FrameType | None], Any]] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._replace(number)

    def _replace(self, number: signal.Signals) -> None:
        previous = signal.getsignal(number)
        if callable(previous):
            self._previous[number] = previous
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_due:
            self._is_due = False
            with suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._start, context=self._context)
        self._previous[number](number, frame)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._call())

    async def _call(self) -> None:
        try:
            result = self._callback()
            if inspect.isawaitable(result):
                await result
        except Exception as exc:  # it must not keep the server from its end
            log_safely(
                logging.ERROR, "callback %r of before_exit failed: %r", self._callback, exc, exc=exc
            )

    def close(self) -> None:
        """Restore the previous handlers, where no later one has replaced these. Idempotent.

        The callback is not called after that; a call that has begun goes on.
        """
        self._is_due = False
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the previous handlers."""
        self.close()
