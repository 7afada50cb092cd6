"""What an emit does about the queues that were full: wait, or drop by their policy.

All other subscriptions have the event by now. So the wait for one that is slow holds up its
emitter alone, and only for as long as its policy says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from edr.bus.overflow import DropReason, Overflow
from edr.bus.queue import Ticket
from edr.errors import WouldDeadlock


async def settle(outcomes: Iterable[Ticket | bool]) -> int:
    """Wait for the tickets that ``put_all`` left, and return how many events were taken.

    A policy drops only after one yield to the loop, so a consumer that merely waits for its turn
    loses nothing to a tight loop of emits.

    Cancellation: what is still waited for is dropped as ``cancelled``; the counts stay true.

    Raises:
        WouldDeadlock: a full queue under BLOCK is consumed by this very task, and no other.
    """
    tickets = [ticket for ticket in outcomes if isinstance(ticket, Ticket)]
    _refuse_deadlock(tickets)
    try:
        if not all(_may_wait(ticket) for ticket in tickets):
            await asyncio.sleep(0)
        for ticket in tickets:
            ticket.queue.apply_policy(ticket)
        for ticket in tickets:
            await ticket.resolved()
    except BaseException:  # cancelled, or the loop is being torn down: the counts stay true
        _give_up(tickets, DropReason.CANCELLED)
        raise
    return sum(ticket.taken is True for ticket in tickets)


def _may_wait(ticket: Ticket) -> bool:
    return ticket.queue.overflow is Overflow.BLOCK and not ticket.queue.stalled


def _refuse_deadlock(tickets: list[Ticket]) -> None:
    task = asyncio.current_task()
    for ticket in tickets:
        queue = ticket.queue
        consumer = queue.consumer() if queue.consumer is not None else None
        if _may_wait(ticket) and consumer is task and not queue.shared_by_tasks:
            _give_up(tickets, DropReason.WOULD_BLOCK)
            raise WouldDeadlock(queue.name)


def _give_up(tickets: list[Ticket], reason: DropReason) -> None:
    for ticket in tickets:
        if ticket.taken is None and ticket.queue.overflow is Overflow.BLOCK:
            ticket.queue.drop(ticket, reason)
        else:
            ticket.queue.apply_policy(ticket)
