"""Tasks that run together, and cancellations that a library swallowed or invented."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Run all coroutines until one ends; cancel the others, and raise what that one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def is_cancelled() -> bool:
    """Return whether the current task was cancelled.

    A client library may raise ``CancelledError`` in a task that was not.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def raise_if_cancelled() -> None:
    """Raise ``CancelledError`` if the current task was cancelled and a library swallowed it.

    Call it after each call of a client library. ``asyncio.wait_for`` of Python 3.11 swallows a
    cancellation that arrives together with the result. Without this check the task would start
    its next attempt, and ``aclose`` would wait for a task that does not end.
    """
    if is_cancelled():
        raise asyncio.CancelledError
