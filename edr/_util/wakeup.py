"""``wake``: end the wait for a future."""

from __future__ import annotations

import asyncio


def wake(waiter: asyncio.Future[None]) -> bool:
    """Set the result of ``waiter``; return False if it is done already or its loop is closed.

    A future whose task was cancelled is done. The loop of a coroutine that the garbage collector
    closes may be closed.
    """
    if waiter.done() or waiter.get_loop().is_closed():
        return False
    waiter.set_result(None)
    return True
