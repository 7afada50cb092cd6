"""``Worker``: the thread that runs the store of a journal.

SQLite waits for the disk, which the event loop must not do. One thread suffices, because there is
one connection. Urgent jobs, such as appends, run first, because emitters wait for them.

Results return to the loop's thread in the order of the jobs. So the loop always sees a state that
the store really had.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs jobs in order in its own thread, which starts with the first job."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._urgent: deque[Callable[[], object]] = deque()
        self._others: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    def submit(self, job: Callable[[], T], *, urgent: bool = False) -> asyncio.Future[T]:
        """Run ``job`` in the thread, and return a future of its result in the running loop.

        Cancelling the future does not stop the job.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = job()
            except BaseException as exc:  # any exception belongs to the future
                error = exc
            with suppress(RuntimeError):  # the loop is closed, so no call waits
                loop.call_soon_threadsafe(_settle, future, result, error)

        self._put(run, urgent=urgent)
        return future

    def end(self, job: Callable[[], object]) -> None:
        """Run ``job`` after all others, then end the thread. Submit no job after this call.

        It does not wait. It may be called from any thread, and without a loop.
        """
        if self._thread is None:
            job()
            return
        self._put(job, urgent=False)
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; return False after ``timeout`` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _put(self, job: Callable[[], object], *, urgent: bool) -> None:
        with self._changed:
            (self._urgent if urgent else self._others).append(job)
            if self._thread is None:
                # A daemon thread, so that an unclosed journal does not keep the program running.
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._urgent or self._others):
                    if self._is_stopping:
                        return
                    self._changed.wait()
                job = (self._urgent or self._others).popleft()
            job()
            del job


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
        future.exception()  # retrieved, so that asyncio does not log it if no call waits
