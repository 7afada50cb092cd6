"""What an emit does about the queues that were full: wait, or drop by their policy.

All other subscriptions have the event by now. So the wait for one that is slow holds up its
emitter alone, and only for as long as its policy says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edr.bus.bounded_queue import WOULD_BLOCK, Ticket
from edr.bus.overflow import DropReason, Overflow
from edr.errors import DeadlockError

CANCELLED = DropReason.CANCELLED.value


async def settle(tickets: Sequence[Ticket]) -> int:
    """Wait for the tickets that ``put_all`` left, and return how many admitted the event.

    A policy drops only after one yield to the loop, so a consumer that merely waits for its turn
    loses nothing to a tight loop of emits.

    Cancellation: what is still waited for is dropped as ``cancelled``; the counts stay true.

    Raises:
        DeadlockError: a full queue under BLOCK is consumed by this very task, and no other.
    """
    _refuse_deadlock(tickets)
    try:
        if not all(ticket.queue.may_wait() for ticket in tickets):
            await asyncio.sleep(0)
        for ticket in tickets:
            ticket.queue.apply_policy(ticket)
        for ticket in tickets:
            await ticket.resolved()
    except BaseException:  # cancelled, or the loop is being torn down: the counts stay true
        _give_up(tickets, CANCELLED)
        raise
    return sum(ticket.admitted is True for ticket in tickets)


def _refuse_deadlock(tickets: Sequence[Ticket]) -> None:
    task = asyncio.current_task()
    for ticket in tickets:
        if ticket.queue.may_wait() and ticket.queue.is_consumed_by_none_but(task):
            _give_up(tickets, WOULD_BLOCK)
            raise DeadlockError(ticket.queue.name)


def _give_up(tickets: Sequence[Ticket], reason: str) -> None:
    for ticket in tickets:
        if ticket.admitted is None and ticket.queue.overflow is Overflow.BLOCK:
            ticket.queue.drop(ticket, reason)
        else:
            ticket.queue.apply_policy(ticket)
