"""``in_thread``: an iterator that blocks, such as the lines of stdin, for the event loop.

A command that waits for its next line must notice Ctrl-C, and that its process has ended. So
another thread waits. It is a daemon: it cannot be interrupted, and the command ends without it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(items: Iterator[T]) -> AsyncIterator[T]:
    """Yield the items of ``items``, each of which is awaited in a daemon thread.

    One thread takes all of them, one at a time and only when it is requested. An exception of
    ``items`` is raised here. Cancellation: the item that is awaited is lost.
    """
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue()
    requested = threading.Semaphore(0)

    def read() -> None:
        answer: tuple[T] | BaseException | None
        while True:
            requested.acquire()
            try:
                answer = (next(items),)
            except StopIteration:
                answer = None
            except BaseException as exc:
                answer = exc
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(answers.put_nowait, answer)
            if not isinstance(answer, tuple):
                return

    threading.Thread(target=read, name="edr input", daemon=True).start()
    while True:
        requested.release()
        answer = await answers.get()
        if answer is None:
            return
        if isinstance(answer, BaseException):
            raise answer
        yield answer[0]
