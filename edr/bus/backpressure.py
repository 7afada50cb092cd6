"""``wait_for_space``: how an emit waits for the queues that were full, or drops by their policies.

All other subscriptions have the event already. So a slow one delays only the emit that waits for
it, and only for as long as its policy says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edr.bus.policies import CANCELLED, WOULD_BLOCK
from edr.bus.putters import PendingPut
from edr.errors import DeadlockError


async def wait_for_space(puts: Sequence[PendingPut]) -> int:
    """Wait for the pending puts that ``put_all`` left; return how many queues accepted the event.

    A policy drops only after one yield to the loop. So a tight loop of emits loses no event for a
    consumer that is ready to run.

    Cancellation: an event that still waits is dropped as ``cancelled``; the counts stay true.

    Raises:
        DeadlockError: this task is the only consumer of a full queue under BLOCK.
    """
    _check_deadlock(puts)
    try:
        if not all(put.queue.may_wait() for put in puts):
            await asyncio.sleep(0)
        for put in puts:
            put.queue.apply_policy(put)
        for put in puts:
            await put.resolved()
    except BaseException:  # cancelled, or the loop is closing: the counts stay true
        _stop_waiting(puts, CANCELLED)
        raise
    return sum(put.admitted is True for put in puts)


def _check_deadlock(puts: Sequence[PendingPut]) -> None:
    task = asyncio.current_task()
    for put in puts:
        if put.queue.may_wait() and put.queue.is_consumed_only_by(task):
            _stop_waiting(puts, WOULD_BLOCK)
            raise DeadlockError(put.queue.name)


def _stop_waiting(puts: Sequence[PendingPut], reason: str) -> None:
    for put in puts:
        put.queue.apply_policy(put, cannot_wait=reason)
