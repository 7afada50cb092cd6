"""``BoundedQueue``: the queue of one subscription. Put, take, accounting, stall.

The problem: an emit puts an event into many queues, so a put must cost next to nothing, and
still respect the bound, wake a waiting consumer, keep the order, and count everything.

**Credit.** A put of the hot path (``put_all``, below) is: if the queue has credit, spend one and
append. Credit is the right to append without looking, and is granted by ``offer``, the slow
path, which does all that needs care. Whatever must not be missed revokes the credit: a consumer
that goes to wait, a queue that is full, closed or stalled, an emit that waits in line. So one
test of one integer stands for all of them, and since every credit that was granted is either
spent or still there, ``offered = granted - credit`` counts without counting.

**Watch.** A take of the hot path (in ``subscription.py``) is a ``popleft`` while ``watch`` is
off. It is on when a take has more to do: nobody has taken yet, somebody waits in line, emits were
refused, a gap is in the queue, or the queue is closed. And it is on while there is credit for
more than the queue ever held: only takes make a queue shorter, so the first one after a climb sees
the new peak, and takes back the credit above it.

**Line.** An event that finds the queue full gets a ``Ticket`` in the line, at once and so in
order; what is taken lets the head of the line in. The policy applies to a ticket only after its
emit has yielded to the loop. A consumer that takes nothing for ``MAX_YIELDS`` of them has had its
turns: from then on the policy applies at once, and only each ``REFUSALS_A_YIELD``-th emit yields,
lest one dead observer slow all emits down, or a tight loop of emits starve a live one.

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from edr._util.wakeup import wake
from edr.bus.overflow import DropReason, Gap, Overflow
from edr.errors import SubscriptionOverflowError, WrongLoopError
from edr.records import Binding, Event

if TYPE_CHECKING:
    from edr.bus.statistics import Totals

current_task: Callable[[asyncio.AbstractEventLoop | None], asyncio.Task[Any] | None]
if TYPE_CHECKING or sys.version_info >= (3, 12):
    current_task = asyncio.current_task
else:
    # 3.12 has asyncio.current_task in C. In 3.11 it is Python around this look-up, at three
    # times the cost, and every take and every emit asks for it.
    from asyncio.tasks import _current_tasks

    current_task = _current_tasks.get


UNNAMED = "subscription-"
"""Begins the name of one that was given none; its number follows."""

MAX_YIELDS = 32
"""Emits that yield for a full queue from which nobody takes. A consumer may need some turns of the
loop for one event; one that took nothing in so many does not merely wait for its turn."""

REFUSALS_A_YIELD = 256
"""After that, one emit in so many yields: a percent of what each would cost."""


class Shared(Protocol):
    """What the queues of one bus share: the registry, as they see it."""

    stall_timeout: float
    totals: Totals
    """Where a closed queue keeps its counts."""
    active: dict[BoundedQueue, None]
    """The queues whose counts the totals do not have."""

    def lost(self, queue: BoundedQueue, reason: str, count: int) -> None:
        """Hear that ``queue`` dropped events, and will go on to count without a word."""
        ...

    def stalled(self, queue: BoundedQueue, dropped: int) -> None:
        """Called when emitters no longer wait for ``queue``, which dropped events of theirs."""
        ...

    def closed(self, queue: BoundedQueue) -> None:
        """Hear that ``queue`` admits nothing more."""
        ...

    def emptied(self, queue: BoundedQueue) -> None:
        """Hear that there is nothing more to take from ``queue``, which is closed."""
        ...

    def refilled(self, queue: BoundedQueue) -> None:
        """Hear that there is something to take again from ``queue``, which is closed."""
        ...

    def left(self, queue: BoundedQueue, count: int) -> None:
        """Hear that the consumer of ``queue`` left so many events."""
        ...

    def abandon(self, queue: BoundedQueue) -> None:
        """Hear that nobody will consume ``queue`` any more. From any thread, at any point."""
        ...

    def let_go(self, queue: BoundedQueue) -> None:
        """Hear that the consumer of ``queue`` wants no more, and close it."""
        ...

    def bindings_of(self, queue: BoundedQueue) -> tuple[Binding, ...]:
        """Return what ``queue`` is offered."""
        ...

    def rebind(self, queue: BoundedQueue, bindings: tuple[Binding, ...]) -> None:
        """Offer ``queue`` what ``bindings`` match, and nothing else."""
        ...


class Ticket:
    """The place in line of one event that found the queue full."""

    __slots__ = ("_waiter", "admitted", "item", "queue")

    def __init__(self, queue: BoundedQueue, item: Event | Gap) -> None:
        self.queue: BoundedQueue = queue
        self.item: Event | Gap = item
        self.admitted: bool | None = None
        """Whether the queue has, or had, the event; ``None`` while that is open."""
        self._waiter: asyncio.Future[None] | None = None

    def resolve(self, *, admitted: bool) -> None:
        """Settle the ticket, and wake the emit that waits for it."""
        self.admitted = admitted
        if self._waiter is not None:
            wake(self._waiter)

    async def resolved(self) -> None:
        """Wait until ``admitted`` is known."""
        while self.admitted is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                # Whoever gives up here must not be woken, perhaps in a loop that is closed.
                self._waiter = None


# As plain text: an enum's hash is a call of Python, and a dead observer is refused all the time.
OVERFLOW = DropReason.OVERFLOW.value
STALLED = DropReason.STALLED.value
WOULD_BLOCK = DropReason.WOULD_BLOCK.value
CLOSED = DropReason.CLOSED.value


class Counts(NamedTuple):
    """One moment of a queue."""

    offered: int
    dropped: Mapping[str, int]
    pending: int
    peak_pending: int
    stalled: bool

    @property
    def delivered(self) -> int:
        """Events that were taken."""
        return self.offered - sum(self.dropped.values()) - self.pending


class BoundedQueue:
    """The events of one subscription. Used from the thread of its event loop only.

    ``counts`` may be read from any thread.
    """

    __slots__ = (
        "_climbing",
        "_dropped",
        "_emptied",
        "_folded",
        "_folded_dropped",
        "_gaps",
        "_granted",
        "_idle",
        "_in_line",
        "_is_folded",
        "_line",
        "_markers",
        "_name",
        "_peak",
        "_refusals",
        "_sharers",
        "_taken_at",
        "_timer",
        "append",
        "capacity",
        "closed",
        "consumer",
        "credit",
        "error",
        "is_told_of",
        "items",
        "loop",
        "number",
        "overflow",
        "shared",
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
        self.number: int = number
        """Counts the queues of the bus: a later one has a higher number."""
        self.capacity: int = capacity
        self.overflow: Overflow = overflow
        self.closed: bool = False
        self.stalled: bool = False
        self.is_told_of: bool = False
        """Whether the log has told of a loss here, and will sum up those that follow."""
        self.error: SubscriptionOverflowError | None = None
        """What ends the iteration in place of StopAsyncIteration."""
        self.loop: Any = None
        """The event loop, once the queue has been consumed in one."""
        self.consumer: weakref.ref[asyncio.Task[Any]] | None = None
        """The task that took, or waited to take, last. Weak, as one that has failed holds its
        frames, and they the subscription, which would never be collected."""
        self._sharers: list[weakref.ref[asyncio.Task[Any]]] | None = None

        self.credit: int = 0
        self._granted = 0
        self.watch: bool = True
        # A deque takes 760 bytes, and most of a million subscriptions are idle: it, and all
        # that only an overflow needs, is made when it is first used.
        self.items: deque[Event | Gap] | None = None
        self.append: Callable[[Event | Gap], None] = _no_deque_yet
        self._line: OrderedDict[Ticket, None] | None = None
        self._idle: list[asyncio.Future[None]] | None = None
        self._dropped: dict[str, int] | None = None
        self._in_line = 0
        self._markers = 0
        self._peak = 0
        self._climbing = False
        self._refusals = 0
        self._gaps = gaps
        self.shared: Shared = shared
        self._name = name
        self._taken_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._is_folded = True
        self._folded = 0
        self._folded_dropped: dict[str, int] | None = None

    @property
    def name(self) -> str:
        """The name it was given, or one made of its number."""
        return self._name or f"{UNNAMED}{self.number}"

    @property
    def is_named(self) -> bool:
        """Whether it was given a name."""
        return self._name is not None

    # Accounting

    @property
    def offered(self) -> int:
        """Events that came, whatever became of them."""
        return self._granted - self.credit

    @property
    def pending(self) -> int:
        """Events queued or in line."""
        return self._queued() + self._in_line

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> events."""
        return dict(self._dropped or ())

    @property
    def peak_pending(self) -> int:
        """The most that were ever pending."""
        return max(self._peak, self.pending)

    @property
    def to_take(self) -> int:
        """What a consumer has still to take: events queued or in line, and gaps."""
        return len(self.items or ()) + self._in_line

    @property
    def oldest(self) -> Event | None:
        """The event that has been pending for longest. From any thread."""
        items = self.items
        try:
            for position in range(len(items or ())):
                item = items[position]  # type: ignore[index]  # only where there are items
                if not isinstance(item, Gap):
                    return item
        except IndexError:  # another thread has just taken the last
            pass
        return None

    def counts(self) -> Counts:
        """Return the counts of one moment."""
        return Counts(self.offered, self.dropped, self.pending, self.peak_pending, self.stalled)

    def unfolded(self) -> tuple[int, Mapping[str, int], int]:
        """Return what the totals do not have: offered, dropped, and all that is pending."""
        dropped = self._dropped or {}
        before = self._folded_dropped
        if before:
            dropped = {reason: count - before.get(reason, 0) for reason, count in dropped.items()}
        return self.offered - self._folded, dropped, self.pending

    def fold(self) -> None:
        """Add to the totals what they do not have; the next put comes through ``offer``."""
        self._revoke()
        offered, dropped, _ = self.unfolded()
        totals = self.shared.totals
        totals.offered += offered
        for reason, count in dropped.items():
            totals.dropped[reason] += count
        self._folded += offered
        if dropped:
            self._folded_dropped = self.dropped
        self._is_folded = True
        self.shared.active.pop(self, None)

    def _unfold(self) -> None:
        self._is_folded = False
        self.shared.active[self] = None

    def _queued(self) -> int:
        items = self.items  # once: another thread may read this, for the statistics
        return len(items) - self._markers if items else 0

    def _count_drop(self, reason: str, count: int = 1) -> None:
        if self._dropped is None:
            self._dropped = {}
        self._dropped[reason] = self._dropped.get(reason, 0) + count
        if self.closed:
            self.shared.totals.dropped[reason] += count
            self.shared.totals.pending -= count

    def _tell_loss(self, reason: str, count: int = 1) -> None:
        """Tell of a loss that was counted, as the last thing: a log handler may emit, to here."""
        if not self.is_told_of and reason is not CLOSED:
            self.is_told_of = True
            self.shared.lost(self, reason, count)

    # Put

    def offer(self, event: Event) -> Ticket | bool:
        """Admit ``event`` when there is no credit.

        Returns True, or False if it was refused (closed, or nobody takes), or its ticket if full.
        """
        if self.closed:
            return False
        if self._is_folded:
            self._unfold()
        self._granted += 1
        items = self.items
        if items is None:
            items = self.items = deque()
            self.append = items.append
        queued = len(items) - self._markers + 1
        if queued > self.capacity or self._line:
            return self._offer_to_full(event)
        items.append(event)
        if self._idle:
            self._wake_one()
            if self._idle:  # the next event must wake the next one, so there is no credit
                self._peak = max(self._peak, queued)
                return True
        if queued < self._peak:
            self.credit = min(self._peak, self.capacity) - queued
            self._granted += self.credit
        elif queued > self._peak:
            self.credit = self.capacity - queued
            self._granted += self.credit
            self._climbing = self.watch = True
        return True

    def offer_nowait(self, event: Event) -> bool:
        """Admit ``event`` or drop it by the policy, without a yield; BLOCK drops what is full."""
        if self.credit:
            self.credit -= 1
            self.append(event)
            return True
        outcome = self.offer(event)
        if isinstance(outcome, bool):
            return outcome
        if self.overflow is Overflow.BLOCK and not self.stalled:
            self.drop(outcome, WOULD_BLOCK)
        else:
            self._decide(outcome)
        return bool(outcome.admitted)

    def _offer_to_full(self, event: Event) -> Ticket | bool:
        refusals = self._refusals
        if refusals < MAX_YIELDS or not refusals % REFUSALS_A_YIELD or self._line:
            return self._stand_in_line(event)
        self._refusals += 1
        if self.overflow is Overflow.DROP_OLDEST:
            self._drop_oldest()
            self._append(event)
            self._tell_loss(OVERFLOW)
            return True
        reason = STALLED if self.stalled else OVERFLOW
        self._count_drop(reason)
        if self._gaps:
            self._queue_gap(1)
        self._tell_loss(reason)
        return False

    def _stand_in_line(self, event: Event) -> Ticket:
        ticket = Ticket(self, event)
        if self._line is None:
            self._line = OrderedDict()
        self._line[ticket] = None
        self._in_line += 1
        if self._in_line == 1:
            self._taken_at = asyncio.get_running_loop().time()  # the stall clock starts here
        self._peak = max(self._peak, self.pending)
        self.watch = True
        return ticket

    def may_wait(self) -> bool:
        """Tell whether an emit that finds the queue full waits until there is room."""
        return self.overflow is Overflow.BLOCK and not self.stalled

    def apply_policy(self, ticket: Ticket) -> None:
        """Decide on a ticket whose emit has yielded; under BLOCK it may go on waiting."""
        if ticket.admitted is not None:
            return
        if self.may_wait():
            self._start_stall_clock()
            return
        self._refusals += 1
        self._decide(ticket)

    def _decide(self, ticket: Ticket) -> None:
        """Admit a ticket or refuse it, as the policy says."""
        if self.overflow is Overflow.BLOCK:
            self.drop(ticket, STALLED)
        elif self.overflow is Overflow.DROP_OLDEST:
            while ticket.admitted is None:
                self._drop_oldest()
                self._let_in()
            self._tell_loss(OVERFLOW)
        elif self.overflow is Overflow.DROP_NEWEST:
            self.drop(ticket, OVERFLOW)
        else:
            self.error = SubscriptionOverflowError(self.name, self._in_line)
            dropped = self._drop_line(OVERFLOW)
            self.close()
            if dropped:
                self._tell_loss(OVERFLOW, dropped)

    def drop(self, ticket: Ticket, reason: str) -> None:
        """Take a ticket out of the line."""
        assert self._line is not None
        self._in_line -= 1
        self._count_drop(reason)
        if self._gaps and next(reversed(self._line)) is not ticket:
            ticket.item = Gap(1)  # keeps its place in line, so the gap is seen where it was
        else:
            del self._line[ticket]
            if self._gaps:
                self._mark_gap(1)
        ticket.resolve(admitted=False)
        self._let_in()
        self._tell_loss(reason)

    def _append(self, item: Event | Gap) -> None:
        if self.items is None:
            self.items = deque()
            self.append = self.items.append
        self.items.append(item)
        if self._idle:
            self._wake_one()

    def _revoke(self) -> None:
        self._granted -= self.credit
        self.credit = 0

    def _drop_oldest(self) -> None:
        assert self.items
        missed = 1 + self._pop_gaps()
        self.items.popleft()
        missed += self._pop_gaps()  # behind an event that was put back
        self._count_drop(OVERFLOW)
        if self._gaps:
            self.items.appendleft(Gap(missed))
            self._markers += 1

    def _pop_gaps(self) -> int:
        """Remove the gaps at the head of the queue; return what they missed."""
        missed = 0
        while self.items and isinstance(self.items[0], Gap):
            missed += self.items[0].missed
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

    def _let_in(self) -> None:
        """Admit the head of the line as far as there is room."""
        line = self._line
        while line:
            ticket = next(iter(line))
            if isinstance(ticket.item, Gap):
                self._queue_gap(ticket.item.missed)
                del line[ticket]
            elif self._queued() < self.capacity:
                del line[ticket]
                self._in_line -= 1
                self._append(ticket.item)
                ticket.resolve(admitted=True)
            else:
                break

    # Take

    def take(self) -> Event | Gap:
        """Remove the oldest event or gap; there must be one."""
        assert self.items
        if self._climbing:
            self._reach_peak()
        item = self.items.popleft()
        self._refusals = 0
        if isinstance(item, Gap):
            self._markers -= 1
        else:
            self.stalled = False
            if self.closed:
                self.shared.totals.pending -= 1
        if self.closed and not self.items and not self._line:
            self.shared.emptied(self)
        if self._line:
            self._taken_at = asyncio.get_running_loop().time()
            self._let_in()
        self.watch = bool(self._line or self._markers or self.closed or self._emptied)
        self._tell_if_emptied()
        return item

    def _reach_peak(self) -> None:
        """Note how long the queue got, before it becomes shorter, and end the credit there."""
        self._climbing = False
        queued = self._queued()
        self._peak = max(self._peak, queued + self._in_line)
        credit = min(self.credit, self._peak - queued + 1)
        self._granted -= self.credit - credit
        self.credit = credit

    def put_back(self, item: Event | Gap) -> None:
        """Make ``item``, that was taken, the next one to be taken; drop it if nobody will."""
        self._revoke()
        is_event = not isinstance(item, Gap)
        if self.closed:
            self.shared.totals.pending += is_event
            if self.consumer is None:
                if is_event:
                    self._count_drop(CLOSED)
                    self.shared.left(self, 1)
                return
            self.shared.refilled(self)
        else:
            self._unfold()
        if self.items is None:
            self.items = deque()
            self.append = self.items.append
        self.items.appendleft(item)
        self._markers += not is_event
        self._peak = max(self._peak, self.pending)
        self.watch = True
        self._wake_one()

    def note_consumer(self) -> asyncio.Task[Any] | None:
        """Take note that the current task takes from now on, and return it."""
        task = current_task(self.loop)
        last = self.consumer() if self.consumer is not None else None
        if last is not None and last is not task and not last.done():
            assert self.consumer is not None
            others = [each for each in self._sharers or () if _is_alive(each, but=task)]
            self._sharers = [*others, self.consumer]
        self.consumer = None if task is None else weakref.ref(task)
        return task

    def is_consumed_by_none_but(self, task: asyncio.Task[Any] | None) -> bool:
        """Tell whether ``task`` takes from here, and no other task that lives ever did."""
        if self.consumer is None or self.consumer() is not task:
            return False
        if self._sharers:
            self._sharers = [each for each in self._sharers if _is_alive(each, but=task)] or None
        return not self._sharers

    def start_waiting(self, count: int = 1) -> asyncio.Future[None]:
        """Return a future that is done when so many may be queued, or it is closed.

        Whoever gives up awaiting it calls ``stop_waiting``.
        """
        loop = asyncio.get_running_loop()
        if self.loop is not loop:
            raise WrongLoopError(f"subscription {self.name!r} belongs to another event loop")
        self._revoke()
        if not self.items:
            self.give_back_memory()
        elif self._idle is None or not self._idle:
            # Credit for all but the last of them: only that one comes through offer, and wakes.
            self.credit = max(0, min(count, self.capacity) - self._queued() - 1)
            self._granted += self.credit
            self._climbing = self.watch = True
        waiter: asyncio.Future[None] = loop.create_future()
        if self._idle is None:
            self._idle = []
        self._idle.append(waiter)
        return waiter

    def give_back_memory(self) -> None:
        """Forget an empty deque, which takes as much memory as all the rest of an idle queue."""
        if not self.items:
            self._revoke()
            self.items = None
            self.append = _no_deque_yet

    def stop_waiting(self, waiter: asyncio.Future[None]) -> None:
        """Forget a waiter; a wake-up that it did not use goes to another one."""
        if self._idle and waiter in self._idle:
            self._idle.remove(waiter)
        elif self.items:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._idle:
            if wake(self._idle.pop(0)):
                return

    # Stall

    def _start_stall_clock(self) -> None:
        if self._timer is None and self.shared.stall_timeout < inf:
            due = self._taken_at + self.shared.stall_timeout
            self._timer = asyncio.get_running_loop().call_at(due, self._check_stall)

    def _check_stall(self) -> None:
        self._timer = None
        if not self._in_line:
            return
        loop = asyncio.get_running_loop()
        due = self._taken_at + self.shared.stall_timeout
        if loop.time() < due:
            self._timer = loop.call_at(due, self._check_stall)
            return
        self.stalled = self.watch = True
        dropped = self._drop_line(STALLED)
        self.shared.stalled(self, dropped)

    def _drop_line(self, reason: str) -> int:
        """Drop all waiting events, and return how many; the caller logs it if needed."""
        line: Iterable[Ticket] = self._line or ()
        self._line = None
        waiting, self._in_line = self._in_line, 0
        if waiting:
            self._count_drop(reason, waiting)
        if self._gaps:
            gaps = (t.item.missed for t in line if isinstance(t.item, Gap))
            self._mark_gap(waiting + sum(gaps))
        for ticket in line:
            if ticket.admitted is None:
                ticket.resolve(admitted=False)
        self._tell_if_emptied()
        return waiting

    # Close

    def close(self) -> None:
        """Admit nothing more. What is queued, or in line, can still be taken."""
        if self.closed:
            return
        self.fold()
        self.shared.totals.pending += self.pending
        self.closed = self.watch = True
        while self._idle:
            self._wake_one()
        self.shared.closed(self)

    def discard(self) -> int:
        """Close, and drop all that is queued or in line; return how many events that were."""
        self.close()
        pending = self.pending
        self._peak = max(self._peak, pending)
        queued = self._queued()
        self.items = None
        self._markers = 0
        self._gaps = False
        if queued:
            self._count_drop(CLOSED, queued)
        self._drop_line(CLOSED)
        self.shared.emptied(self)
        self.consumer = self._sharers = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return pending

    async def emptied(self, patience: float) -> bool:
        """Wait until all was taken, gaps too, or nothing is for ``patience`` seconds.

        Returns whether all was taken.
        """
        timeout = patience if patience < inf else None
        while self.to_take:
            if self._emptied is None or self._emptied.done():
                self._emptied = asyncio.get_running_loop().create_future()
            self.watch = True
            delivered = self.counts().delivered
            await asyncio.wait({self._emptied}, timeout=timeout)
            if self.to_take and self.counts().delivered == delivered:
                return False
        return True

    def _tell_if_emptied(self) -> None:
        if self._emptied is not None and not self.to_take:
            wake(self._emptied)
            self._emptied = None


def put_all(queues: Sequence[BoundedQueue], event: Event, tickets: list[Ticket]) -> int:
    """Put ``event`` into each queue: the hot path of emit.

    Returns how many admitted it; the tickets of those that are full are added to ``tickets``.
    """
    hard = 0
    for queue in queues:
        credit = queue.credit
        if credit:
            queue.credit = credit - 1
            queue.append(event)
        else:
            outcome = queue.offer(event)
            if outcome is not True:
                hard += 1
                if outcome:
                    tickets.append(outcome)
    return len(queues) - hard


class Sums(NamedTuple):
    """What several queues counted, as far as the totals do not have it."""

    offered: int
    dropped: Counter[str]
    pending: int
    stalled: int


def add_up(queues: Iterable[BoundedQueue]) -> Sums:
    """Sum up what ``unfolded`` gives for each, in a sixth of the time; on the loop's thread.

    A million queues may have been used since they were last asked, and the loop waits for this.
    """
    offered = pending = stalled = 0
    dropped: Counter[str] = Counter()
    for queue in queues:
        offered += queue._granted - queue.credit - queue._folded
        items = queue.items
        if items:
            pending += len(items) - queue._markers
        if queue._in_line:
            pending += queue._in_line
        if queue._dropped:
            dropped.update(queue.unfolded()[1])
            stalled += queue.stalled
    return Sums(offered, dropped, pending, stalled)


def _is_alive(ref: weakref.ref[asyncio.Task[Any]], *, but: asyncio.Task[Any] | None) -> bool:
    task = ref()
    return task is not None and task is not but and not task.done()


def _no_deque_yet(_item: Event | Gap) -> None:
    raise AssertionError("a queue without a deque has no credit")  # pragma: no branch
