"""``Worker``: the one thread in which a journal's store is used.

SQLite waits for the disk, and the event loop must not. One thread, because there is one
connection; appends first, because emitters wait for them, and for all else only whom it concerns.

A job's result comes back in the loop's thread, in the order in which jobs were done; so what the
loop knows of the store is always some state that it had.
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
    """Runs jobs, one after the other, in a thread of its own that starts with the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._urgent: deque[Callable[[], object]] = deque()
        self._others: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    def submit(self, job: Callable[[], T], *, urgent: bool = False) -> asyncio.Future[T]:
        """Run ``job`` in the thread; the future, of the running loop, gives what it returns.

        A future that is cancelled changes nothing: the job is done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = job()
            except BaseException as exc:  # whatever it is belongs to whom the future does
                error = exc
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(_settle, future, result, error)

        self._put(run, urgent=urgent)
        return future

    def end(self, job: Callable[[], object]) -> None:
        """Run ``job`` after all others, and end the thread. Submit nothing after this call.

        From any thread, and without a loop. It does not wait.
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
                # A daemon, as a journal that nobody closed must not keep the program from ending.
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
        future.exception()  # whoever was waiting may have gone; that is no error of ours
