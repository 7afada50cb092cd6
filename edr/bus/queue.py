"""``BoundedQueue``: the queue of one subscription. Put, take, accounting, stall.

The problem: an emit puts an event into many queues, so a put must cost next to nothing, and
still respect the bound, wake a waiting consumer, keep the order, and count everything.

**Credit.** A put of the hot path (in ``bus.py``) is: if the queue has credit, spend one and
append. Credit is the right to append without looking, and is granted by ``offer``, the slow
path, which does all that needs care. Whatever must not be missed revokes the credit: a consumer
that goes to wait, a queue that is full, closed or stalled, an emit that waits in line. So one
test of one integer stands for all of them, and since every credit that was granted is either
spent or still there, ``offered = granted - credit`` counts without counting. Credit ends where
the queue would be longer than it ever was, so ``offer`` sees each new peak, and that is exact too;
it costs at most ``capacity`` slow puts in the life of a queue.

**Watch.** A take of the hot path (in ``subscription.py``) is a ``popleft`` while ``watch`` is
off. It is on when a take has more to do: nobody has taken yet, somebody waits in line, the
subscriber had stalled, a gap is in the queue, or the queue is closed.

**Line.** An event that finds the queue full gets a ``Ticket`` in the line, at once and so in
order; what is taken lets the head of the line in. The policy applies to a ticket only after its
emit has yielded to the loop once.

Invariants: ``offered = delivered + dropped + pending`` at every moment, where ``pending`` counts
the line; nothing overtakes; at most ``capacity`` events are queued, beside one ticket for each
emit that waits; a cancelled take has removed nothing.

Rejected: ``asyncio.Queue`` (five times the cost, no accounting, and its bound is all or
nothing); an anyio stream (twice that again); a deque with ``maxlen`` (drops uncounted).
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from edr.bus.overflow import DropReason, Gap, Overflow
from edr.errors import SubscriptionOverflow, WrongLoopError
from edr.records.event import Event

if TYPE_CHECKING:
    from edr.bus.statistics import Totals

if TYPE_CHECKING or sys.version_info >= (3, 12):
    current_task = asyncio.current_task
else:
    # 3.12 has asyncio.current_task in C. In 3.11 it is Python around this look-up, at three
    # times the cost, and every take and every emit asks for it.
    from asyncio.tasks import _current_tasks

    current_task = _current_tasks.get


class Shared(Protocol):
    """What the queues of one bus share: the bus, as they see it."""

    stall_after: float
    totals: Totals
    """Where a closed queue keeps its counts."""

    def on_stall(self, queue: BoundedQueue) -> None:
        """Hear that emitters no longer wait for ``queue``."""
        ...

    def on_close(self, queue: BoundedQueue) -> None:
        """Hear that ``queue`` takes nothing more in."""
        ...


class Ticket:
    """The place in line of one event that found the queue full."""

    __slots__ = ("_waiter", "item", "queue", "taken")

    def __init__(self, queue: BoundedQueue, item: Event | Gap) -> None:
        self.queue = queue
        self.item = item
        self.taken: bool | None = None
        """Whether the queue took the event; ``None`` while that is open."""
        self._waiter: asyncio.Future[None] | None = None

    def resolve(self, *, taken: bool) -> None:
        """Settle the ticket, and wake the emit that waits for it."""
        self.taken = taken
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def resolved(self) -> None:
        """Wait until ``taken`` is known."""
        while self.taken is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                # Whoever gives up here must not be woken, perhaps in a loop that is closed.
                self._waiter = None


class BoundedQueue:
    """The events of one subscription. Used from the thread of its event loop only."""

    __slots__ = (
        "_drained",
        "_dropped",
        "_gaps",
        "_granted",
        "_line",
        "_markers",
        "_name",
        "_peak",
        "_shared",
        "_taken_at",
        "_timer",
        "_waiters",
        "_waiting",
        "append",
        "capacity",
        "closed",
        "consumer",
        "credit",
        "error",
        "items",
        "loop",
        "number",
        "overflow",
        "shared_by_tasks",
        "stalled",
        "watch",
    )

    def __init__(
        self,
        shared: Shared,
        number: int,
        capacity: int = 1024,
        overflow: Overflow = Overflow.BLOCK,
        name: str | None = None,
        *,
        gaps: bool = False,
    ) -> None:
        self.number = number
        """Counts the queues of the bus: a later one has a higher number."""
        self.capacity = capacity
        self.overflow = overflow
        self.closed = False
        self.stalled = False
        self.error: SubscriptionOverflow | None = None
        """What ends the iteration in place of StopAsyncIteration."""
        self.loop: Any = None
        """The event loop, once the queue has been consumed in one."""
        self.consumer: weakref.ref[asyncio.Task[Any]] | None = None
        """The task that took, or waited to take, last. Weak, as one that has failed holds its
        frames, and they the subscription, which would never be collected."""
        self.shared_by_tasks = False
        """Whether several tasks take, so that one of them can wait for another."""

        self.credit = 0
        self._granted = 0
        self.watch = True
        # A deque takes 760 bytes, and most of a million subscriptions are idle: it, and all
        # that only an overflow needs, is made when it is first used.
        self.items: deque[Event | Gap] | None = None
        self.append: Callable[[Event | Gap], None] = _no_deque_yet
        self._line: OrderedDict[Ticket, None] | None = None
        self._waiters: deque[asyncio.Future[None]] | None = None
        self._dropped: Counter[str] | None = None
        self._waiting = 0
        self._markers = 0
        self._peak = 0
        self._gaps = gaps
        self._shared = shared
        self._name = name
        self._taken_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def name(self) -> str:
        """The name it was given, or one made of its number."""
        return self._name or f"subscription-{self.number}"

    # Accounting

    @property
    def offered(self) -> int:
        """Events that came, whatever became of them."""
        return self._granted - self.credit

    @property
    def pending(self) -> int:
        """Events queued or in line."""
        return self._queued() + self._waiting

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> events."""
        return dict(self._dropped or ())

    @property
    def delivered(self) -> int:
        """Events that were taken."""
        return self.offered - sum(self.dropped.values()) - self.pending

    @property
    def peak_pending(self) -> int:
        """The most that were ever pending."""
        return max(self._peak, self.pending)

    @property
    def to_take(self) -> int:
        """What a consumer has still to take: events queued or in line, and gaps."""
        return len(self.items or ()) + self._waiting

    def _queued(self) -> int:
        return len(self.items) - self._markers if self.items else 0

    def _count_drop(self, reason: DropReason, count: int = 1) -> None:
        if self._dropped is None:
            self._dropped = Counter()
        self._dropped[reason] += count
        if self.closed:
            self._shared.totals.dropped[reason] += count
            self._shared.totals.pending -= count

    # Put

    def offer(self, event: Event) -> Ticket | bool:
        """Take ``event`` when there is no credit.

        Returns True, or False if closed, or the event's ticket if full.
        """
        if self.closed:
            return False
        self._granted += 1
        items = self.items
        if items is None:
            items = self.items = deque()
            self.append = items.append
        queued = len(items) - self._markers + 1
        if queued > self.capacity or self._line:
            return self._stand_in_line(event)
        items.append(event)
        if self._waiters:
            self._wake_one()
        if queued > self._peak:
            self._peak = queued
        elif queued < self._peak and not self._waiters:
            # Up to the peak, not to the capacity: so every new peak comes through here.
            self.credit = min(self._peak, self.capacity) - queued
            self._granted += self.credit
        return True

    def _stand_in_line(self, event: Event) -> Ticket:
        ticket = Ticket(self, event)
        if self._line is None:
            self._line = OrderedDict()
        self._line[ticket] = None
        self._waiting += 1
        if self._waiting == 1:
            self._taken_at = asyncio.get_running_loop().time()  # the stall clock starts here
        self._peak = max(self._peak, self.pending)
        self.watch = True
        return ticket

    def offer_nowait(self, event: Event) -> bool:
        """Take ``event`` or drop it by the policy, without a yield; BLOCK drops what is full."""
        if self.credit:
            self.credit -= 1
            self.append(event)
            return True
        outcome = self.offer(event)
        if isinstance(outcome, bool):
            return outcome
        if self.overflow is Overflow.BLOCK and not self.stalled:
            self.drop(outcome, DropReason.WOULD_BLOCK)
        else:
            self.apply_policy(outcome)
        return bool(outcome.taken)

    def apply_policy(self, ticket: Ticket) -> None:
        """Decide on a ticket whose emit has yielded; under BLOCK it may go on waiting."""
        if ticket.taken is not None:
            return
        if self.overflow is Overflow.BLOCK:
            if self.stalled:
                self.drop(ticket, DropReason.STALLED)
            else:
                self._start_stall_clock()
        elif self.overflow is Overflow.DROP_OLDEST:
            while ticket.taken is None:
                self._drop_oldest()
                self._admit()
        elif self.overflow is Overflow.DROP_NEWEST:
            self.drop(ticket, DropReason.OVERFLOW)
        else:
            self.error = SubscriptionOverflow(self.name, self._waiting)
            self._drop_line(DropReason.OVERFLOW)
            self.close()

    def drop(self, ticket: Ticket, reason: DropReason) -> None:
        """Take a ticket out of the line."""
        assert self._line is not None
        self._waiting -= 1
        self._count_drop(reason)
        if self._gaps and next(reversed(self._line)) is not ticket:
            ticket.item = Gap(1)  # keeps its place in line, so the gap is seen where it was
        else:
            del self._line[ticket]
            if self._gaps:
                self._mark_gap(1)
        ticket.resolve(taken=False)
        self._admit()

    def _append(self, item: Event | Gap) -> None:
        if self.items is None:
            self.items = deque()
            self.append = self.items.append
        self.items.append(item)
        if self._waiters:
            self._wake_one()

    def _revoke(self) -> None:
        self._granted -= self.credit
        self.credit = 0

    def _drop_oldest(self) -> None:
        assert self.items
        missed = 1 + self._pop_gap()  # under this policy a gap stands at the head, and only there
        self.items.popleft()
        self._count_drop(DropReason.OVERFLOW)
        if self._gaps:
            self.items.appendleft(Gap(missed))
            self._markers += 1

    def _pop_gap(self) -> int:
        """Remove the gap at the head of the queue, if one is there; return what it missed."""
        if not self.items or not isinstance(self.items[0], Gap):
            return 0
        missed = self.items[0].missed
        self.items.popleft()
        self._markers -= 1
        return missed

    def _mark_gap(self, missed: int) -> None:
        """Put a gap behind all that was offered so far."""
        if not self._line:
            self._queue_gap(missed)
            return
        last = next(reversed(self._line))
        if isinstance(last.item, Gap):
            last.item = Gap(last.item.missed + missed)
        else:
            self._line[Ticket(self, Gap(missed))] = None

    def _queue_gap(self, missed: int) -> None:
        """Put a gap at the end of the queue; it takes no room, and is one with a gap before it."""
        if self.items and isinstance(self.items[-1], Gap):
            self.items[-1] = Gap(self.items[-1].missed + missed)
        else:
            self._append(Gap(missed))
            self._markers += 1
            self.watch = True

    def _admit(self) -> None:
        """Let the head of the line in as far as there is room."""
        line = self._line
        while line:
            ticket = next(iter(line))
            if isinstance(ticket.item, Gap):
                self._queue_gap(ticket.item.missed)
                del line[ticket]
            elif self._queued() < self.capacity:
                del line[ticket]
                self._waiting -= 1
                self._append(ticket.item)
                ticket.resolve(taken=True)
            else:
                break

    # Take

    def take(self) -> Event | Gap:
        """Remove the oldest event or gap; there must be one."""
        assert self.items
        item = self.items.popleft()
        if isinstance(item, Gap):
            self._markers -= 1
        else:
            self.stalled = False
            if self.closed:
                self._shared.totals.pending -= 1
        if self._line:
            self._taken_at = asyncio.get_running_loop().time()
            self._admit()
        self.watch = bool(self._line or self._markers or self.closed)
        self._settle_drained()
        return item

    def note_consumer(self) -> asyncio.Task[Any] | None:
        """Take note that the current task takes from now on, and return it."""
        task = current_task(self.loop)
        last = self.consumer() if self.consumer is not None else None
        if last is not None and last is not task and not last.done():
            self.shared_by_tasks = True
        self.consumer = None if task is None else weakref.ref(task)
        return task

    def start_waiting(self) -> asyncio.Future[None]:
        """Return a future that is done when there may be something to take, or it is closed.

        Whoever is cancelled while awaiting it calls ``stop_waiting``.
        """
        loop = asyncio.get_running_loop()
        if self.loop is not loop:
            raise WrongLoopError(f"subscription {self.name!r} belongs to another event loop")
        self._granted -= self.credit
        self.credit = 0
        waiter: asyncio.Future[None] = loop.create_future()
        if self._waiters is None:
            self._waiters = deque()
        self._waiters.append(waiter)
        return waiter

    def stop_waiting(self, waiter: asyncio.Future[None]) -> None:
        """Forget a waiter; a wake-up that it did not use goes to another one."""
        if self._waiters and waiter in self._waiters:
            self._waiters.remove(waiter)
        elif self.items:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    # Stall

    def _start_stall_clock(self) -> None:
        if self._timer is None and self._shared.stall_after < inf:
            due = self._taken_at + self._shared.stall_after
            self._timer = asyncio.get_running_loop().call_at(due, self._check_stall)

    def _check_stall(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        due = self._taken_at + self._shared.stall_after
        if loop.time() < due:
            self._timer = loop.call_at(due, self._check_stall)
            return
        self.stalled = self.watch = True
        self._drop_line(DropReason.STALLED)
        self._shared.on_stall(self)

    def _drop_line(self, reason: DropReason) -> None:
        line: Iterable[Ticket] = self._line or ()
        self._line = None
        waiting, self._waiting = self._waiting, 0
        if waiting:
            self._count_drop(reason, waiting)
        if self._gaps:
            gaps = (t.item.missed for t in line if isinstance(t.item, Gap))
            self._mark_gap(waiting + sum(gaps))
        for ticket in line:
            if ticket.taken is None:
                ticket.resolve(taken=False)
        self._settle_drained()

    # Close

    def close(self) -> None:
        """Take nothing more in. What is queued, or in line, can still be taken."""
        if self.closed:
            return
        totals = self._shared.totals
        totals.offered += self.offered
        totals.dropped.update(self.dropped)
        totals.pending += self.pending
        self.closed = self.watch = True
        self._revoke()
        while self._waiters:
            self._wake_one()
        self._shared.on_close(self)

    def discard(self) -> None:
        """Close, and drop all that is queued or in line."""
        self.close()
        queued = self._queued()
        self.items = None
        self._markers = 0
        self._gaps = False
        if queued:
            self._count_drop(DropReason.CLOSED, queued)
        self._drop_line(DropReason.CLOSED)
        self.consumer = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def drained(self, patience: float) -> None:
        """Wait until all was taken, gaps too, or nothing is for ``patience`` seconds.

        Only on a closed queue, which nothing but takes make shorter.
        """
        timeout = patience if patience < inf else None
        while to_take := self.to_take:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._drained}, timeout=timeout)
            if self.to_take == to_take:
                return

    def _settle_drained(self) -> None:
        if self._drained is not None and not self._drained.done() and not self.to_take:
            self._drained.set_result(None)


def put_all(queues: Sequence[BoundedQueue], event: Event) -> list[Ticket | bool]:
    """Put ``event`` into each queue: the hot path of emit.

    Returns what was not simply taken: the tickets of full queues, False for closed ones.
    """
    hard: list[Ticket | bool] = []
    for queue in queues:
        credit = queue.credit
        if credit:
            queue.credit = credit - 1
            queue.append(event)
        else:
            outcome = queue.offer(event)
            if outcome is not True:
                hard.append(outcome)
    return hard


def _no_deque_yet(_item: Event | Gap) -> None:
    raise AssertionError("a queue without a deque has no credit")  # pragma: no branch
